"""`cvtune stats`: a data set described part by part, its plots, and how it fits a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cvtune.data.anchors import DEFAULT_ANCHORS, AnchorFit, compare_with_anchors
from cvtune.data.parts import read_parts
from cvtune.data.statistics import PartStats, describe

__all__ = ["SetStats", "describe_set"]


@dataclass(frozen=True)
class SetStats:
    """The format, every part by name ("all" where there is one), their fit to a spec, and the plots written."""

    format: str
    parts: Mapping[str, PartStats]
    anchors: Mapping[str, AnchorFit]
    plots: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "format": self.format,
            "parts": {name: part.to_json() for name, part in self.parts.items()},
            "spec": {name: fit.to_json() for name, fit in self.anchors.items()},
        }


def describe_set(
    path: Path,
    format: str = "auto",
    images: Path | None = None,
    subset: str | None = None,
    origin: Literal["auto", 0, 1] = "auto",
    plot: Path | None = None,
    plan: Mapping[str, Any] | None = None,
) -> SetStats:
    """Read a set and describe it.

    Args:
        path: annotations in any known format.
        format: the format's name, or "auto".
        images: where the images are; else they are searched around the annotations.
        subset: a named part, which is then described alone.
        origin: where pixels start, for formats that leave it open.
        plot: a folder to write plots to.
        plan: a plan's values: `model.family` and `data.image_size.*` are compared with.

    Raises:
        DataError: the data set is wrong or of no known format.
        RunError: a plot cannot be written.
    """
    source = read_parts(path, format, images, subset, origin)
    datasets = {part.name or subset or "all": part.dataset for part in source.parts}
    described = {name: describe(dataset) for name, dataset in datasets.items()}
    fits: dict[str, AnchorFit] = {}
    if plan is not None:
        keys = ("short", "long", "test_short", "square", "fit")
        size = {key: plan.get(f"data.image_size.{key}") for key in keys}
        # A value that waits for the machine is no size.
        size = {key: None if isinstance(value, dict) else value for key, value in size.items()}
        anchors = DEFAULT_ANCHORS.get(str(plan.get("model.family")))
        fits = {name: compare_with_anchors(dataset, size, anchors) for name, dataset in datasets.items()}
    plots: tuple[Path, ...] = ()
    if plot is not None:
        from cvtune.data.plots import write_plots

        plots = tuple(write_plots({name: (datasets[name], described[name]) for name in datasets}, plot))
    return SetStats(source.format, described, fits, plots)
