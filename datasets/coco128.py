"""COCO128: the first 128 images of COCO's train2017, 80 classes, as YOLO labels.

python datasets/coco128.py OUT        OUT/annotations.json, images linked below OUT/images
"""

from __future__ import annotations

from pathlib import Path

from fetch import Archive, arguments, fetch, unpack

from cvtune.data.convert import convert

# No hash is stated.
ARCHIVES = [Archive("https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128.zip")]
# The archive has no file of names; these are COCO's 80 categories in the order of their ids.
NAMES = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
]  # fmt: skip


def make(out: Path, archives: list[Archive] = ARCHIVES) -> None:
    """Download and convert."""
    unpack(fetch(archives[0], out / "download"), out / "download")
    folder = out / "download" / "coco128"
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    convert(folder, out, "yolo", place="link")


if __name__ == "__main__":
    make(arguments(__doc__))
