"""CVAT XML 1.1 for video: tracks, whose shapes are objects of the frames they are drawn or interpolated in."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cvtune.data.formats.entries import Entry, Shape
from cvtune.data.formats.groups import join_groups
from cvtune.data.formats.texts import whole

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["DEFAULT", "frames"]

# What CVAT calls the subset of tasks that are in none.
DEFAULT = "default"
# Frames without objects are looked for among so many.
MOST_FRAMES = 100_000
Find = Callable[[str], tuple[Path | None, str]]


def frames(
    root: Element, label: str, find: Find, shape: Callable[[Element, str], Shape], subset: str | None = None
) -> list[Entry]:
    """The frames of a video, those without objects too where their image is there; of a project, those of each task.

    A shape that is marked `outside` is none: the object has left the picture. Images are called ``frame_000000.PNG``,
    as CVAT calls them, in the folder of the task's subset. `track_id` and `frame` are among the fields.

    Args:
        root: <annotations>.
        label: the file, as messages call it.
        find: (the image or None, what it is called) of a name.
        shape: reads one shape, given what messages call it.
        subset: of a project's tasks, those of this subset alone.
    """
    tracks: dict[tuple[str, str], list[Element]] = defaultdict(list)
    for track in root.findall("track"):
        tracks[track.get("task_id", ""), track.get("subset", "")].append(track)
    entries: list[Entry] = []
    tasks = list(root.iterfind("meta/project/tasks/task"))
    # Of a name that a subset has already, CVAT makes another: frame_000000_1.
    again: dict[str, str] = {}
    videos: Counter[str] = Counter()
    for task in tasks:
        if _said(task, "mode") != "annotation":
            earlier = videos[_said(task, "subset")]
            again[_said(task, "id")] = f"_{earlier}" if earlier else ""
            videos[_said(task, "subset")] += 1
    for (task_id, part), members in tracks.items():
        if subset in {None, part or DEFAULT}:
            where = f"{label} task {task_id}" if len(tracks) > 1 else label
            name = (f"{part}/frame_" if part else "frame_", f"{again.get(task_id, '')}.PNG")
            own = next((task for task in tasks if task_id and _said(task, "id") == task_id), root.find("meta"))
            entries += _of_task(root if own is None else own, members, where, name, find, shape)
    return entries


def _of_task(
    task: Element,
    tracks: list[Element],
    label: str,
    name: tuple[str, str],
    find: Find,
    shape: Callable[[Element, str], Shape],
) -> list[Entry]:
    """The frames of one task, whose images are called by their number between the two parts of `name`."""
    shapes: dict[int, list[Shape]] = defaultdict(list)
    for track in tracks:
        category, track_id = track.get("label", "").strip() or None, whole(track.get("id"))
        for element in track:
            # A skeleton's points are tracks within its own.
            if element.tag == "track" or element.get("outside") == "1" or element.get("frame") is None:
                continue
            frame = whole(element.get("frame"))
            found = shape(element, f"{label} track {track.get('id', '?')} frame {frame}")
            shapes[frame].append(replace(found, name=category, extra={**found.extra, "track_id": track_id}))
    width, height = (whole(task.findtext(f".//original_size/{side}")) for side in ("width", "height"))
    size = (width, height) if width and height else None
    start = whole(task.findtext(".//start_frame"))
    step = re.search(r"step=(\d{1,6})", task.findtext(".//frame_filter") or "")
    every = max(1, int(step[1])) if step else 1
    count = min(whole(task.findtext(".//size")), MOST_FRAMES)
    entries = []
    for frame in sorted(shapes.keys() | {start + n * every for n in range(count)}):
        path, called = find(f"{name[0]}{frame:06d}{name[1]}")
        if path is not None or frame in shapes:
            where = f"{label} frame {frame}"
            entries.append(Entry(where, called, size, path, join_groups(shapes.get(frame, [])), {"frame": frame}))
    return entries


def _said(task: Element, tag: str) -> str:
    return (task.findtext(tag) or "").strip()
