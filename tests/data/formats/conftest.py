"""Fixtures that the formats' tests share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.formats import ReadSource, load_format
from cvtune.data.geometry import mask_to_rle, rle_bbox_xywh, rle_iou, segmentation_area, segmentation_to_rle
from cvtune.data.receipt import Receipt

Read = Callable[..., tuple[Dataset, Receipt]]


@pytest.fixture(scope="session")
def read() -> Read:
    """Read a path in a named format; what came in went out or was dropped."""

    def read_checked(format: str, path: Path, **options: Any) -> tuple[Dataset, Receipt]:
        receipt = Receipt()
        dataset = load_format(format).read(ReadSource(path, **options), receipt)
        names = {category.id: category.name for category in dataset.categories}
        receipt.count_out(len(dataset.images), Counter(names[a.category_id] for a in dataset.annotations))
        receipt.check_sums()
        assert len({image.id for image in dataset.images}) == len(dataset.images)
        assert len({annotation.id for annotation in dataset.annotations}) == len(dataset.annotations)
        return dataset, receipt

    return read_checked


@pytest.fixture(scope="session")
def codes() -> Callable[[Receipt, str], list[str]]:
    """The codes of a receipt's events of a kind, in order."""
    return lambda receipt, kind: [event.code for event in receipt.events if event.kind == kind]


@pytest.fixture(scope="session")
def files() -> Callable[..., Path]:
    """Write files below a folder: texts, bytes, or (width, height) for a picture."""

    def write(root: Path, content: dict[str, Any]) -> Path:
        for name, value in content.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(value, tuple):
                Pillow.new("RGB", value).save(target)
            elif isinstance(value, bytes):
                target.write_bytes(value)
            else:
                target.write_text(value)
        return root

    return write


@pytest.fixture(scope="session")
def objects() -> Callable[[Dataset], list[tuple[Any, ...]]]:
    """What a round trip must keep: image, class, box in hundredths of a pixel, crowd, corners or covered pixels."""

    def listed(dataset: Dataset) -> list[tuple[Any, ...]]:
        names = {c.id: c.name for c in dataset.categories}
        images = {i.id: i for i in dataset.images}
        rows = []
        for a in dataset.annotations:
            mask: Any = ()
            if isinstance(a.segmentation, tuple):
                mask = tuple(sorted(tuple(round(float(v), 2) + 0.0 for v in part) for part in a.segmentation))
            elif a.segmentation is not None:
                mask = a.segmentation.counts
            box = tuple(round(v, 2) + 0.0 for v in a.bbox_xywh)
            rows.append((images[a.image_id].file_name, names[a.category_id], box, a.iscrowd, mask))
        return sorted(rows, key=repr)

    return listed


@pytest.fixture
def awkward() -> Dataset:
    """Boxes, polygons, parts, a mask with a hole, empty images, one stem twice, ids with gaps, names with signs."""
    images = (
        Image(4, "a.jpg", 100, 80),
        Image(9, "sub/a.jpg", 60, 70),
        Image(11, "e.jpg", 5, 5),
    )
    ring = np.zeros((80, 100), np.bool_)
    ring[20:40, 30:60] = True
    ring[25:30, 35:40] = False
    triangle = np.array([10.5, 10, 40.25, 12, 30, 50.125])
    square = np.array([60.0, 60, 70, 60, 70, 70, 60, 70])

    def made(i: int, image: int, category: int, mask: Any = None, box: Any = None, **more: Any) -> Annotation:
        size_hw = next((im.height, im.width) for im in images if im.id == image)
        if mask is None:
            return Annotation(i, image, category, box, box[2] * box[3], **more)
        if isinstance(mask, tuple):
            corners = np.concatenate(mask).reshape(-1, 2)
            (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
            box = (float(x0), float(y0), float(x1 - x0), float(y1 - y0))
        else:
            box = rle_bbox_xywh(mask)
        return Annotation(i, image, category, box, segmentation_area(mask, size_hw), segmentation=mask, **more)

    annotations = (
        made(1, 4, 7, box=(0.0, 0.0, 100.0, 80.0)),
        made(2, 4, 7, (triangle,)),
        made(3, 4, 6, (triangle, square)),
        made(5, 4, 6, mask_to_rle(ring), iscrowd=True),
        made(8, 9, 6, box=(1.25, 2.5, 30.125, 40.0), extra={"score": 0.5}),
    )
    return Dataset(images, annotations, (Category(6, '<cow> & calf, "big"'), Category(7, "ant: é")))


@pytest.fixture(scope="session")
def overlap() -> Callable[[Annotation, Annotation, Image], float]:
    """Intersection over union of two annotations' masks."""

    def iou(a: Annotation, b: Annotation, image: Image) -> float:
        size_hw = (image.height, image.width)
        assert a.segmentation is not None
        assert b.segmentation is not None
        return rle_iou(segmentation_to_rle(a.segmentation, size_hw), segmentation_to_rle(b.segmentation, size_hw))

    return iou


@pytest.fixture(scope="session")
def shapes_of(read: Read) -> Callable[..., Any]:
    """Everything a test of one image needs: dataset, receipt, and its only image's annotations by class."""

    def of(format: str, path: Path, **options: Any) -> Any:
        dataset, receipt = read(format, path, **options)
        names = {c.id: c.name for c in dataset.categories}
        return SimpleNamespace(
            dataset=dataset, receipt=receipt, by_name={names[a.category_id]: a for a in dataset.annotations}
        )

    return of
