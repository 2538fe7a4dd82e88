"""`cvtune doctor`: what is wrong before hours are spent on a training. Imports no framework: the worker does."""

from cvtune.doctor.examine import examine
from cvtune.doctor.line import Line

__all__ = ["Line", "examine"]
