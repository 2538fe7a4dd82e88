"""One line of what the doctor says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Level", "Line"]

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Line:
    """What was looked at, what was seen, and what to do about it (empty where nothing is to be done).

    Attributes:
        level: "error" where the training would fail or be worthless, "warning" where it would suffer.
        topic: environment, data, plan, memory, time or learning.
        seen: one plain sentence or figure.
        fix: a command, or a line of the spec.
    """

    level: Level
    topic: str
    seen: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)
