"""Balloons of the Mask R-CNN tutorial by matterport: 74 photographs with polygons in VIA's form, one class.

python datasets/balloon.py OUT        OUT/{train,val}/annotations.json
"""

from __future__ import annotations

from pathlib import Path

from fetch import Archive, arguments, fetch, unpack

from cvtune.data.merge_sets import merge_sets

# No hash is stated.
ARCHIVES = [Archive("https://github.com/matterport/Mask_RCNN/releases/download/v2.1/balloon_dataset.zip")]


def make(out: Path, archives: list[Archive] = ARCHIVES) -> None:
    """Download and convert; the regions have no class, which is read as "object"."""
    unpack(fetch(archives[0], out / "download"), out / "download")
    for part in ("train", "val"):
        source = out / "download" / "balloon" / part
        merge_sets([source / "via_region_data.json"], out / part, {"object": "balloon"})
        print(f"{out / part / 'annotations.json'}; its images: {source}")


if __name__ == "__main__":
    make(arguments(__doc__))
