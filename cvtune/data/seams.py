"""Parts that formats of one polygon an object join by lines without width, taken apart again."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from cvtune.data.coco import Polygon

__all__ = ["split_at_seams"]

Point: TypeAlias = tuple[float, float]
# A line that is drawn to and fro has as many seams as points; that is no joined outline.
MOST_SEAMS = 64


def split_at_seams(polygon: Polygon) -> tuple[Polygon, ...]:
    """The parts of a polygon, or the polygon itself where it has one, or where a seam leads to a hole.

    A seam is an edge that is passed once in each direction, between exactly the same two points. What lies on its two
    sides are parts where each covers something and none holds a corner of another.

    Args:
        polygon: flat, finite x0, y0, x1, y1, ... in pixels.
    """
    points: list[Point] = [(x, y) for x, y in polygon.reshape(-1, 2).tolist()]
    if len(points) < 8 or len(set(points)) >= len(points) - 1:  # a seam's ends are there twice
        return (polygon,)
    waiting, parts, seams = [points], [], 0
    while waiting:
        loop = _without_repeats(waiting.pop())
        found = _seam(loop)
        if found is None:
            parts.append(loop)
            continue
        seams += 1
        if seams > MOST_SEAMS:
            return (polygon,)
        first, second = found
        waiting += [loop[first + 1 : second + 1], loop[second + 1 :] + loop[: first + 1]]
    parts = [part for part in parts if len(part) >= 3 and _doubled_area(part)]
    if len(parts) < 2 or any(_holds(outer, inner[0]) for outer in parts for inner in parts if outer is not inner):
        return (polygon,)
    split = [np.array(part, np.float64).reshape(-1) for part in reversed(parts)]
    for part in split:
        part.flags.writeable = False
    return tuple(split)


def _seam(loop: list[Point]) -> tuple[int, int] | None:
    """The places i < j of two edges (i, i + 1) and (j, j + 1) that are one another's reverse."""
    places: dict[tuple[Point, Point], int] = {}
    for j, start in enumerate(loop):
        end = loop[(j + 1) % len(loop)]
        if (end, start) in places:
            return places[end, start], j
        places[start, end] = j
    return None


def _without_repeats(loop: list[Point]) -> list[Point]:
    """The loop without points that follow themselves, the last one by the first."""
    return [point for i, point in enumerate(loop) if point != loop[i - 1]] if len(loop) > 1 else loop


def _doubled_area(loop: list[Point]) -> float:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(loop, [*loop[1:], loop[0]], strict=True))


def _holds(loop: list[Point], point: Point) -> bool:
    """Whether a point lies inside, by the parity of edges to its right."""
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in zip(loop, [*loop[1:], loop[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside
