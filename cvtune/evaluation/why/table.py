"""An explanation as text for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from cvtune.evaluation.why.explain import Explanation

__all__ = ["explanation_table"]


def explanation_table(explanation: Explanation) -> RenderableType:
    """The verdict, then each cause: its rule and certainty, what was seen, where, and the fix."""
    parts: list[RenderableType] = [Text(explanation.verdict, style="bold")]
    for i, cause in enumerate(explanation.causes, 1):
        parts.append(Text(f"{i}. {cause.rule} ({100 * cause.certainty:.0f} % sure)"))
        # Text, not markup: ids and names may hold square brackets.
        told = f"seen: {cause.seen}\nwhere: {cause.line}\nfix: {cause.fix}"
        parts.append(Padding(Text(told), (0, 0, 0, 3)))
    return Group(*parts)
