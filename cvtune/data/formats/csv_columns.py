"""Which columns of a table hold image, class and box: told by their names, with synonyms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["IN_ONE_CELL", "Columns", "find_columns"]

# What a column means -> its names, in lower case, letters and digits alone; the first found counts.
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": (
            "filename", "file", "fname", "imagename", "imagepath", "filepath", "imgpath", "imgname", "path", "image",
            "img", "imageid", "imgid", "imageindex", "imageurl", "imgurl", "url", "uri", "frame", "patientid",
        ),
        "class": (
            "class", "label", "classname", "labelname", "category", "categoryname", "objectclass", "object", "name",
            "classid", "categoryid", "labelid", "annotationtag", "findinglabel", "clsid", "cls",
            "labels", "classes", "categories",
        ),
        "x0": (
            "xmin", "x0", "x1", "left", "bboxxmin", "boxxmin", "bboxx0", "bboxx1", "boxx1", "xtl", "minx", "bboxleft",
            "startx", "roix1", "upperleftcornerx", "topleftx", "xtopleft",
        ),
        "y0": (
            "ymin", "y0", "y1", "top", "bboxymin", "boxymin", "bboxy0", "bboxy1", "boxy1", "ytl", "miny", "bboxtop",
            "starty", "roiy1", "upperleftcornery", "toplefty", "ytopleft", "upper",
        ),
        "x1": (
            "xmax", "x2", "right", "bboxxmax", "boxxmax", "bboxx2", "boxx2", "xbr", "maxx", "bboxright", "endx",
            "roix2", "lowerrightcornerx", "bottomrightx", "xbottomright", "x1", "bboxx1",
        ),
        "y1": (
            "ymax", "y2", "bottom", "bboxymax", "boxymax", "bboxy2", "boxy2", "ybr", "maxy", "bboxbottom", "endy",
            "roiy2", "lowerrightcornery", "bottomrighty", "ybottomright", "y1", "bboxy1", "lower",
        ),
        "x": ("x", "bboxx", "boxx", "bboxleft", "bbleft", "left", "xmin", "topleftx", "xtopleft", "x1", "x0"),
        "y": ("y", "bboxy", "boxy", "bboxtop", "bbtop", "top", "ymin", "toplefty", "ytopleft", "y1", "y0"),
        "cx": ("xcenter", "centerx", "cx", "xc", "xcentre", "centrex", "bboxxcenter", "bboxcx"),
        "cy": ("ycenter", "centery", "cy", "yc", "ycentre", "centrey", "bboxycenter", "bboxcy"),
        "w": ("bboxwidth", "boxwidth", "bbwidth", "bboxw", "boxw", "widthbox", "w", "width"),
        "h": ("bboxheight", "boxheight", "bbheight", "bboxh", "boxh", "heightbox", "h", "height"),
        "bbox": ("bbox", "box", "boundingbox", "bboxes", "boxes", "boundingboxes", "boxesstring"),
        "image width": ("imagewidth", "imgwidth", "imwidth", "imagew", "imgw", "width"),
        "image height": ("imageheight", "imgheight", "imheight", "imageh", "imgh", "height"),
        "split": ("set", "split", "subset", "mluse", "partition", "usage"),
        "crowd": ("iscrowd", "crowd", "isgroupof", "isgroup"),
    }
)  # fmt: skip
CLASS_IDS = frozenset({"classid", "categoryid", "labelid", "clsid", "catid"})
KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "corners": ("x0", "y0", "x1", "y1"),
        "centre and size": ("cx", "cy", "w", "h"),
        "corner and size": ("x", "y", "w", "h"),
        "x, y, width, height in one cell": ("bbox",),
        "corners in one cell": ("bbox",),
        "centre and size in one cell": ("bbox",),
    }
)
IN_ONE_CELL: Mapping[str, str] = MappingProxyType(
    {
        "corner and size": "x, y, width, height in one cell",
        "corners": "corners in one cell",
        "centre and size": "centre and size in one cell",
    }
)
"""What four numbers without names may be, as `box_layout` tells it -> the kind of such a column."""


@dataclass(frozen=True)
class Columns:
    """Meaning -> place of the column; `kind` is how the box is given; `rest` are the places of all other columns."""

    names: tuple[str, ...]
    kind: str
    at: Mapping[str, int]
    rest: tuple[int, ...]

    @property
    def class_id(self) -> int | None:
        """The place of a column of the classes' numbers, beside that of their names."""
        return next((i for i in self.rest if _plain(self.names[i]) in CLASS_IDS), None)

    @property
    def box(self) -> tuple[int, ...]:
        """The places of the four columns of the box, or of the one."""
        return tuple(self.at[key] for key in KINDS[self.kind])

    def describe(self) -> str:
        """What was found, for people: "image=filename, class=label, box (corners)=xmin,ymin,xmax,ymax"."""
        box = ",".join(self.names[i] for i in self.box)
        plain = [f"{key}={self.names[i]}" for key, i in self.at.items() if i not in self.box]
        return ", ".join([*plain, f"box ({self.kind})={box}"])


def find_columns(names: Sequence[str], image_at: int | None = None) -> Columns | None:
    """The columns of image and box, None without them, and those of class, image size, crowd and split.

    Args:
        names: of the columns, as the file has them.
        image_at: the place of the images, where their column's name does not tell.
    """
    plain: dict[str, int] = {}
    for i, name in enumerate(names):
        plain.setdefault(_plain(name), i)

    def find(key: str, taken: Sequence[int]) -> int | None:
        return next((plain[name] for name in NAMES[key] if name in plain and plain[name] not in taken), None)

    for kind, keys in KINDS.items():  # noqa: B007
        box: dict[str, int] = {}
        for key in keys:
            if (found := find(key, list(box.values()))) is not None:
                box[key] = found
        if len(box) == len(keys):
            break
    else:
        return None
    if kind == "corners" and {"x3", "y3"} <= plain.keys() and {"x1", "y1"} & {_plain(names[i]) for i in box.values()}:
        return None  # four corners of an oriented box
    image = find("image", list(box.values()))
    image = image_at if image is None else image
    if image is None:
        return None
    at = {"image": image}
    for key in ("class", "image width", "image height", "crowd", "split"):
        if (found := find(key, [*at.values(), *box.values()])) is not None:
            at[key] = found
    if ("image width" in at) != ("image height" in at):
        at.pop("image width", None)
        at.pop("image height", None)
    used = {*at.values(), *box.values()}
    return Columns(tuple(names), kind, at | box, tuple(i for i in range(len(names)) if i not in used))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
