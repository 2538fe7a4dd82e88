"""A data set's statistics on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from cvtune.data.set_stats import SetStats
from cvtune.data.statistics import Quantiles

__all__ = ["stats_tables"]

# A terminal shows the most frequent classes.
MOST_CLASSES = 30
BAR = 24


def stats_tables(stats: SetStats) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Tables to print, each as its columns and rows: parts, classes, the fit to a spec."""
    yield ["", *stats.parts], _rows(stats)
    counts: dict[str, list[int]] = {}
    for n, part in enumerate(stats.parts.values()):
        for name, found in part.classes.items():
            counts.setdefault(name, [0] * len(stats.parts))[n] = found.objects
    ranked = sorted(counts.items(), key=lambda item: -sum(item[1]))
    most = max((sum(row) for row in counts.values()), default=0) or 1
    rows = [
        [name, *(f"{n:,}" for n in row), "█" * max(int(sum(row) > 0), round(BAR * sum(row) / most))]
        for name, row in ranked[:MOST_CLASSES]
    ]
    if len(ranked) > MOST_CLASSES:
        rows.append([f"... {len(ranked) - MOST_CLASSES:,} more classes", *[""] * (len(stats.parts) + 1)])
    yield ["objects of class", *stats.parts, ""], rows
    if stats.anchors:
        yield ["against the spec", *stats.anchors], _fits(stats)


def _rows(stats: SetStats) -> list[list[str]]:
    parts = list(stats.parts.values())
    return [
        ["images", *(f"{p.images:,}" for p in parts)],
        ["of them without objects", *(f"{p.empty_images:,}" for p in parts)],
        ["objects", *(f"{p.objects:,}" for p in parts)],
        ["with masks", *(f"{p.with_masks:,}" for p in parts)],
        ["crowd regions", *(f"{p.crowds:,}" for p in parts)],
        ["objects an image", *(_said(p.objects_an_image) for p in parts)],
        ["box size √(w·h), px", *(_said(p.sizes) for p in parts)],
        ["box shape w:h", *(_said(p.ratios) for p in parts)],
        [
            "small, medium, large (COCO)",
            *(", ".join(f"{n:,} ({n / max(1, p.objects):.0%})" for n in p.areas.values()) for p in parts),
        ],
        [
            "image sizes",
            *(", ".join(f"{w} x {h} ({n:,})" for w, h, n in p.image_sizes[:3]) or "-" for p in parts),
        ],
    ]


def _fits(stats: SetStats) -> list[list[str]]:
    fits = list(stats.anchors.values())

    def share(n: int | None, of: int) -> str:
        return "no known anchors" if n is None else f"{n:,} ({n / max(1, of):.1%})"

    return [
        ["image size", *(fit.image_size for fit in fits)],
        ["box size after resizing, px", *(_said(fit.sizes) for fit in fits)],
        [
            "anchors, px",
            *(", ".join(f"{size:g}" for size in fit.anchors) if fit.anchors else "-" for fit in fits),
        ],
        ["below the smallest anchor", *(share(fit.below_smallest, fit.objects) for fit in fits)],
        ["below half of it", *(share(fit.below_half, fit.objects) for fit in fits)],
        ["no anchor overlaps by 0.5", *(share(fit.unmatched, fit.objects) for fit in fits)],
        [
            "small ones by class",
            *(", ".join(f"{name} {n:,}" for name, n in fit.below_smallest_by_class.items()) or "-" for fit in fits),
        ],
    ]


def _said(quantiles: Quantiles | None) -> str:
    if quantiles is None:
        return "-"
    q = quantiles
    return f"{q.min:g} .. [{q.p25:g}  {q.p50:g}  {q.p75:g}] .. {q.max:g}"
