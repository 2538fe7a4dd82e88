"""Blood cells (BCCD, MIT licence): 364 images, three classes, Pascal VOC.

python datasets/bccd.py OUT        OUT/{train,val,test}.json, images linked below OUT/images
"""

from __future__ import annotations

from pathlib import Path

from fetch import Archive, arguments, fetch, unpack

from cvtune.data.convert import convert

# The branch's archive has no stated hash.
ARCHIVES = [Archive("https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/master.zip")]


def make(out: Path, archives: list[Archive] = ARCHIVES) -> None:
    """Download and convert."""
    unpack(fetch(archives[0], out / "download"), out / "download")
    [source] = (out / "download").glob("*/BCCD")
    convert(source, out, "voc", place="link")


if __name__ == "__main__":
    make(arguments(__doc__))
