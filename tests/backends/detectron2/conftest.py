"""Plans for translation tests, made without data on a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cvtune.backends.base import Host
from cvtune.backends.detectron2.recipes import recipe
from cvtune.classes import ClassMap
from cvtune.plan import Plan
from cvtune.planner import make_plan
from cvtune.spec import Spec

CPU = Host("0.6", "cpu", 1, "CPU", 2**34, 2, False, {}, {})
EIGHT_GPUS = Host("0.6", "cuda", 8, "GPU", 2**36, 64, True, {}, {})


@pytest.fixture(scope="session")
def plan_for() -> Callable[..., Plan]:
    """A plan: keyword arguments are the spec's dotted keys with `__` for the dot."""

    def plan(classes: Sequence[str] = ("a", "b", "c"), images: int = 200, gpus: bool = False, **changes: Any) -> Plan:
        spec: dict[str, Any] = {
            "name": "x",
            "backend": "detectron2",
            "model": {"weights": "none"},
            "data": {"train": ["a"]},
        }
        rle_masks = changes.pop("rle_masks", 0)
        for key, value in changes.items():
            at = spec
            *path, last = key.split("__")
            for part in path:
                at = at.setdefault(part, {})
            at[last] = value
        summary = {
            "images": images,
            "annotations": 3 * images,
            "crowds": 0,
            "empty_images": 0,
            "with_masks": 3 * images,
            "rle_masks": rle_masks,
            "per_class": {},
            "box_sizes": [],
            "image_size_wh": [640, 480],
            "max_objects": 9,
        }
        checked = Spec.model_validate(spec)
        lock = ClassMap(tuple(classes), tuple(range(1, len(classes) + 1)))
        host = EIGHT_GPUS if gpus else CPU
        return make_plan(checked, {"train": summary, "val": summary}, lock, recipe(checked), host)

    return plan
