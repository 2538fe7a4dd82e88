"""Annotations: the COCO core, geometry, formats, receipts, the run's canonical view."""
