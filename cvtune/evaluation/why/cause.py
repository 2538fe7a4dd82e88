"""A likely cause of a low score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Cause"]


@dataclass(frozen=True)
class Cause:
    """One finding.

    Attributes:
        rule: its name, such as ``boxes_xyxy``.
        certainty: 0..1.
        seen: the evidence, a plain sentence.
        fix: what to change.
        line: where: a key of the spec, or a step outside of it.
        ap50: AP at IoU 0.50 as given and after the repair, or None where nothing was re-scored.
    """

    rule: str
    certainty: float
    seen: str
    fix: str
    line: str
    ap50: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; see docs/analysis.md."""
        return {
            "rule": self.rule,
            "certainty": round(self.certainty, 3),
            "seen": self.seen,
            "fix": self.fix,
            "line": self.line,
            "AP50": None if self.ap50 is None else [round(value, 4) for value in self.ap50],
        }
