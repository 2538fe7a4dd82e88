"""The live page of a run: its curves, progress and sample predictions, read from the run directory's files."""

from cvtune.watch.page import write_page
from cvtune.watch.server import WatchServer

__all__ = ["WatchServer", "write_page"]
