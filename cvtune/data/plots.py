"""A data set's statistics as SVG files that stand alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cvtune.data.coco import Dataset
from cvtune.data.statistics import PartStats, box_sizes, histogram
from cvtune.report.charts import Chart, Series, bar_chart, line_chart
from cvtune.runs import write_text

__all__ = ["standalone", "write_plots"]

BINS = 30
MOST_CLASSES = 40
# The light colours of the report's page.
STYLE = (
    "text{font:11.5px system-ui,sans-serif;fill:#60656f}.title{font-weight:600;fill:#1d1f23}.grid{stroke:#e3e4e6}"
    ".axis{stroke:#60656f;stroke-opacity:.6}.line{fill:none;stroke-width:1.9}.mark{stroke:#60656f;stroke-dasharray:3 3}"
    ".value{fill:#5b8fc7}.dot{fill:none;stroke:none}.d1.line{stroke-dasharray:6 4}.d2.line{stroke-dasharray:1.5 4}"
    + "".join(
        f".c{i}{{stroke:{colour}}}"
        for i, colour in enumerate(
            ("#2b6cb0", "#c05717", "#2c8a57", "#8b5bb5", "#b3862b", "#c2417c", "#3a9aa8", "#6b7078")
        )
    )
)
HEAD, LEGEND = 26, 18  # height of the title, and of a line of the legend


def write_plots(
    parts: Mapping[str, tuple[Dataset, PartStats]], folder: Path, smallest: float | None = None
) -> list[Path]:
    """Write classes.svg, sizes.svg, ratios.svg, objects.svg and images.svg, parts as lines of their own.

    Args:
        parts: name -> a part and its description.
        folder: made where missing.

    Raises:
        RunError: a file cannot be written.
    """
    objects = {name: [a for a in dataset.annotations if not a.iscrowd] for name, (dataset, _) in parts.items()}
    sizes = {name: box_sizes(found)[0] for name, found in objects.items()}
    ratios = {name: box_sizes(found)[1] for name, found in objects.items()}
    ratios = {name: values[np.isfinite(values) & (values > 0)] for name, values in ratios.items()}
    counts = {name: np.array(list(_on_images(dataset).values()), np.float64) for name, (dataset, _) in parts.items()}
    sides = {
        name: np.array([np.sqrt(image.width * image.height) for image in dataset.images])
        for name, (dataset, _) in parts.items()
    }
    classes: dict[str, float] = {}
    for _, stats in parts.values():
        for name, found in stats.classes.items():
            classes[name] = classes.get(name, 0) + found.objects
    ranked = sorted(classes.items(), key=lambda item: -item[1])
    charts = {
        "classes": bar_chart("classes", _title("Objects by class", len(ranked)), ranked[:MOST_CLASSES], "objects"),
        "sizes": _lines("sizes", "Box sizes", sizes, "√(width · height) in pixels", "% of objects"),
        "ratios": _lines("ratios", "Box shapes", {n: np.log2(v) for n, v in ratios.items()},
                         "log₂(width : height)", "% of objects"),
        "objects": _lines("objects", "Objects an image", counts, "objects", "% of images", whole=True),
        "images": _lines("images", "Image sizes", sides, "√(width · height) in pixels", "% of images"),
    }  # fmt: skip
    written = []
    for name, chart in charts.items():
        if chart is not None:
            write_text(folder / f"{name}.svg", standalone(chart))
            written.append(folder / f"{name}.svg")
    return written


def standalone(chart: Chart) -> str:
    """The text of an SVG file: the chart with its title, legend and colours."""
    body = str(chart.svg)
    inner = body[body.index(">") + 1 : body.rindex("</svg>")]
    box = body[body.index('viewBox="') + 9 :].split('"')[0].split()
    width, height = float(box[2]), float(box[3])
    top = HEAD + LEGEND * len(chart.legend)
    parts = [Markup('<text class="title" x="8" y="17">{}</text>').format(chart.title)]
    for i, (style, name) in enumerate(chart.legend):
        y = HEAD + LEGEND * i + 6
        parts.append(Markup('<line class="line {}" x1="8" y1="{}" x2="30" y2="{}"/>').format(style, y, y))
        parts.append(Markup('<text x="36" y="{}">{}</text>').format(y + 4, name))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + top:g}" width="{1.5 * width:g}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{Markup("").join(parts)}'
        f'<g transform="translate(0 {top})">{inner}</g></svg>\n'
    )


def _lines(
    key: str,
    title: str,
    values: Mapping[str, NDArray[np.float64]],
    x: str,
    y: str,
    whole: bool = False,
) -> Chart | None:
    every = np.concatenate([*values.values(), np.zeros(0)])
    if not len(every):
        return None
    low, high = float(every.min()), float(np.quantile(every, 0.995))
    edges: NDArray[np.float64]
    if whole:
        edges = np.asarray(np.arange(int(low), int(high) + 2, max(1, round((high - low) / BINS))) - 0.5, np.float64)
        edges = np.append(edges, edges[-1] + 1) if len(edges) < 2 else edges
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1, dtype=np.float64)
    series = [Series(name, histogram(found, edges)) for name, found in values.items() if len(found)]
    return line_chart(key, title, series, x, y)


def _on_images(dataset: Dataset) -> dict[object, int]:
    counts: dict[object, int] = {image.id: 0 for image in dataset.images}
    for annotation in dataset.annotations:
        counts[annotation.image_id] += not annotation.iscrowd
    return counts


def _title(title: str, classes: int) -> str:
    return title if classes <= MOST_CLASSES else f"{title}, the {MOST_CLASSES} most frequent of {classes:,}"
