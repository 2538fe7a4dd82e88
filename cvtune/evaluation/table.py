"""The scores as a terminal table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cvtune.evaluation.engines import NAMES

__all__ = ["metrics_table"]

PER_CLASS = ("AP", "AP50", "AP75", "AR100")
KINDS = {"bbox": "boxes", "segm": "masks"}


def metrics_table(metrics: Mapping[str, Any]) -> RenderableType:
    """The twelve numbers and the classes of metrics.json, times 100, one decimal; "-" means no ground truth."""
    kinds = [kind for kind in KINDS if kind in metrics]
    title = f"{metrics['split']}: " if metrics.get("split") else ""
    title += f"{metrics['images']} images, {metrics['annotations']} annotations, {metrics['detections']} detections"
    # One number a row: twelve columns do not fit a terminal of 80.
    overall = Table(box=SIMPLE_HEAD)
    overall.add_column("x100")
    for kind in kinds:
        overall.add_column(KINDS[kind], justify="right")
    for name in NAMES:
        overall.add_row(name, *(_percent(metrics[kind][name]) + _interval(metrics[kind], name) for kind in kinds))
    classes = Table(box=SIMPLE_HEAD)
    classes.add_column("class")
    classes.add_column("objects", justify="right")
    classes.add_column("detections", justify="right")
    shown = PER_CLASS if len(kinds) == 1 else PER_CLASS[:2]
    for kind in kinds:
        for name in shown:
            classes.add_column(f"{KINDS[kind]} {name}" if len(kinds) > 1 else name, justify="right")
    for key, first in metrics[kinds[0]]["per_class"].items():
        values = [_percent(metrics[kind]["per_class"][key][name]) for kind in kinds for name in shown]
        classes.add_row(Text(key), str(first["ground_truth"]), str(first["detections"]), *values)
    checked = f", checked with {metrics['checked_with']}" if metrics.get("checked_with") else ""
    # Text, not markup: class names and notes may hold square brackets.
    said = [Text(f"note: {note}") for note in metrics["notes"]]
    return Group(Text(title), overall, classes, Text(f"engine: {metrics['engine']}{checked}"), *said)


def _interval(scores: Mapping[str, Any], name: str) -> str:
    """The 95 % interval, where there is one."""
    found = scores.get("intervals", {}).get(name)
    return f" ({_percent(found[0])} to {_percent(found[1])})" if found else ""


def _percent(value: float) -> str:
    return "-" if value == -1 else f"{100 * value:.1f}"
