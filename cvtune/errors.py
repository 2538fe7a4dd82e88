"""The errors that cvtune raises on purpose, and the exit status each one ends a command with.

A message is one line that says where, what was wrong, what was got, what is allowed, and the fix.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CvtuneError",
    "DataError",
    "MissingDependencyError",
    "RunError",
    "SpecError",
    "UnsupportedError",
    "nearest",
]


class CvtuneError(Exception):
    """Any error that a user can mend; `exit_status` is what the command line ends with."""

    exit_status = 1


class SpecError(CvtuneError):
    """A spec file, an override or an argument is wrong. The message may hold several lines, one a mistake."""

    exit_status = 2


class DataError(CvtuneError):
    """Images, annotations or predictions are wrong or missing."""

    exit_status = 2


class UnsupportedError(CvtuneError):
    """A backend cannot honour a spec field: names the field, the backend and the nearest thing that works."""

    exit_status = 2


class MissingDependencyError(CvtuneError):
    """A package is not installed, or is installed but broken: names the command that mends it."""

    exit_status = 3


class RunError(CvtuneError):
    """A run failed: a loss that is not finite, a full disk, a run directory in use, a worker that died."""

    exit_status = 1


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'faster_rcnn'?``, or an empty string where nothing is close."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
