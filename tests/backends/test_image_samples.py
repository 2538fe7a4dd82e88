"""Which images train: the same images, whatever the framework then makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cvtune.backends.image_samples import ImageSamples
from cvtune.data.coco import Annotation, Image
from cvtune.errors import DataError

IMAGES = [Image(number, f"{number}.png", 8, 6) for number in (1, 2, 3)]
OBJECT = Annotation(1, 1, 1, (0, 0, 4, 4), 16)
CROWD = Annotation(2, 2, 1, (0, 0, 4, 4), 16, iscrowd=True)


class Samples(ImageSamples[int]):
    def convert(self, epoch: int, index: int, rgb: NDArray[np.uint8]) -> int:
        return index


@pytest.mark.parametrize(
    ("annotations", "keep_empty", "images", "objects"),
    [
        ([OBJECT, CROWD], True, [1, 2, 3], {1: [1], 2: [2], 3: []}),
        ([OBJECT, CROWD], False, [1], {1: [1]}),
        ([OBJECT], False, [1], {1: [1]}),
        ([], True, [1, 2, 3], {1: [], 2: [], 3: []}),
    ],
)
def test_an_image_without_objects_trains_where_empty_ones_are_kept(
    annotations: list[Annotation], keep_empty: bool, images: list[int], objects: dict[int, Any]
) -> None:
    samples = Samples(IMAGES, annotations, seed=0, skip_bad_images=False, keep_empty=keep_empty)
    assert [image.id for image in samples.images] == images
    assert {key: [one.id for one in found] for key, found in samples.objects.items()} == objects


def test_no_image_at_all_is_an_error_of_one_line() -> None:
    with pytest.raises(DataError, match="no image has an object") as caught:
        Samples(IMAGES, [CROWD], seed=0, skip_bad_images=False, keep_empty=False)
    assert "\n" not in str(caught.value)
