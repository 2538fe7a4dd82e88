"""The scores as text: a table for a terminal, plain lines for a file or pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvtune.evaluation.engines import NAMES
from cvtune.plain_table import plain_table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["metrics_lines", "metrics_table"]

PER_CLASS = ("AP", "AP50", "AP75", "AR100")
KINDS = {"bbox": "boxes", "segm": "masks"}


@dataclass(frozen=True)
class _Table:
    """The first column holds names, the others numbers."""

    columns: list[str]
    rows: list[list[str]]


def metrics_table(metrics: Mapping[str, Any]) -> RenderableType:
    """The twelve numbers and the classes of metrics.json, times 100, one decimal; "-" means no ground truth."""
    # Not for a file or pipe, whose lines are written sooner than rich is imported.
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title, tables, said = _parts(metrics)
    drawn = []
    for table in tables:
        drawn.append(Table(box=SIMPLE_HEAD))
        for k, column in enumerate(table.columns):
            drawn[-1].add_column(column, justify="right" if k else "left")
        for row in table.rows:
            # Text, not markup: class names and notes may hold square brackets.
            drawn[-1].add_row(*map(Text, row))
    return Group(Text(title), *drawn, *map(Text, said))


def metrics_lines(metrics: Mapping[str, Any]) -> str:
    """The same as plain text."""
    title, tables, said = _parts(metrics)
    blocks = [plain_table(t.columns, t.rows, [k > 0 for k in range(len(t.columns))]) for t in tables]
    return "\n\n".join([title, *blocks, "\n".join(said)])


def _parts(metrics: Mapping[str, Any]) -> tuple[str, list[_Table], list[str]]:
    """The title, the tables, the lines below."""
    kinds = [kind for kind in KINDS if kind in metrics]
    title = f"{metrics['split']}: " if metrics.get("split") else ""
    title += f"{metrics['images']} images, {metrics['annotations']} annotations, {metrics['detections']} detections"
    # One number a row: twelve columns do not fit a terminal of 80.
    overall = [
        [name, *(_percent(metrics[kind][name]) + _interval(metrics[kind], name) for kind in kinds)] for name in NAMES
    ]
    shown = PER_CLASS if len(kinds) == 1 else PER_CLASS[:2]
    titles = [f"{KINDS[kind]} {name}" if len(kinds) > 1 else name for kind in kinds for name in shown]
    classes = [
        [
            key,
            str(first["ground_truth"]),
            str(first["detections"]),
            *(_percent(metrics[kind]["per_class"][key][name]) for kind in kinds for name in shown),
        ]
        for key, first in metrics[kinds[0]]["per_class"].items()
    ]
    checked = f", checked with {metrics['checked_with']}" if metrics.get("checked_with") else ""
    return (
        title,
        [
            _Table(["x100", *(KINDS[kind] for kind in kinds)], overall),
            _Table(["class", "objects", "detections", *titles], classes),
        ],
        [f"engine: {metrics['engine']}{checked}", *(f"note: {note}" for note in metrics["notes"])],
    )


def _interval(scores: Mapping[str, Any], name: str) -> str:
    """The 95 % interval, where there is one."""
    found = scores.get("intervals", {}).get(name)
    return f" ({_percent(found[0])} to {_percent(found[1])})" if found else ""


def _percent(value: float) -> str:
    return "-" if value == -1 else f"{100 * value:.1f}"
