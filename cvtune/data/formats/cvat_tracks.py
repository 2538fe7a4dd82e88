"""CVAT XML 1.1 for video: tracks, whose shapes are objects of the frames they are drawn or interpolated in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cvtune.data.formats.entries import Entry, Shape
from cvtune.data.formats.groups import join_groups
from cvtune.data.formats.texts import whole

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["frames"]

# Frames without objects are looked for among so many.
MOST_FRAMES = 100_000


def frames(
    root: Element, label: str, find: Callable[[str], tuple[Path | None, str]], shape: Callable[[Element, str], Shape]
) -> list[Entry]:
    """The frames of a video, those without objects too where their image is there.

    A shape that is marked `outside` is none: the object has left the picture. Images are called ``frame_000000.PNG``,
    as CVAT calls them. `track_id` and `frame` are among the fields.

    Args:
        root: <annotations>.
        label: the file, as messages call it.
        find: (the image or None, what it is called) of a name.
        shape: reads one shape, given what messages call it.
    """
    shapes: dict[int, list[Shape]] = defaultdict(list)
    for track in root.findall("track"):
        name, track_id = track.get("label", "").strip() or None, whole(track.get("id"))
        for element in track:
            if element.get("outside") == "1" or element.get("frame") is None:
                continue
            frame = whole(element.get("frame"))
            found = shape(element, f"{label} track {track.get('id', '?')} frame {frame}")
            shapes[frame].append(replace(found, name=name, extra={**found.extra, "track_id": track_id}))
    width, height = (whole(root.findtext(f"meta//original_size/{side}")) for side in ("width", "height"))
    size = (width, height) if width and height else None
    listed = set(shapes)
    count = min(whole(root.findtext("meta//size")), MOST_FRAMES)
    entries = []
    for frame in sorted(listed | set(range(count))):
        path, called = find(f"frame_{frame:06d}.PNG")
        if path is not None or frame in listed:
            where = f"{label} frame {frame}"
            entries.append(Entry(where, called, size, path, join_groups(shapes.get(frame, [])), {"frame": frame}))
    return entries
