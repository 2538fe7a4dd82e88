"""Pascal VOC 2007: 9,963 images, 20 classes, with the test annotations.

python datasets/voc2007.py OUT        OUT/{train,val,test}.json, images linked below OUT/images
"""

from __future__ import annotations

from pathlib import Path

from fetch import Archive, arguments, fetch, unpack

from cvtune.data.convert import convert

HOST = "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007"
# Hashes as torchvision.datasets.voc states them.
ARCHIVES = [
    Archive(f"{HOST}/VOCtrainval_06-Nov-2007.tar", "md5:c52e279531787c972589f7e41ab4ae64"),
    Archive(f"{HOST}/VOCtest_06-Nov-2007.tar", "md5:b6e924de25625d8de591ea690078ad9f"),
]


def make(out: Path, archives: list[Archive] = ARCHIVES) -> None:
    """Download and convert; both archives unpack to one devkit."""
    for archive in archives:
        unpack(fetch(archive, out / "download"), out / "download")
    convert(out / "download" / "VOCdevkit" / "VOC2007", out, "voc", origin=1, place="link")


if __name__ == "__main__":
    make(arguments(__doc__))
