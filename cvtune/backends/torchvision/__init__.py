"""The torchvision backend, the embedded default. Its protocol is in `backend.py`."""
