"""What ends a run cleanly: a STOP file, a signal to end, or a parent that is gone."""

from __future__ import annotations

import signal
from typing import Any

from cvtune.runs import RunDir
from cvtune.worker import parent_is_gone

__all__ = ["StopRequest"]


class StopRequest:
    """Listens from its making on; `asked` is looked at after every step."""

    def __init__(self, run: RunDir) -> None:
        """Take over SIGTERM and SIGINT: the step that runs is finished first."""
        self.run, self.signalled = run, False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    @property
    def asked(self) -> bool:
        """Whether this process was asked to stop."""
        return self.signalled or self.run.stop.exists() or parent_is_gone()

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signalled = True
