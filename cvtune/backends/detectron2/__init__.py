"""The Detectron2 backend. Its protocol is in `backend.py`."""
