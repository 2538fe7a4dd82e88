"""Sample predictions: which images, which predictions, where they lie, and that they never stop a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvtune.backends.sample_images import SampleImages, _shown
from cvtune.classes import ClassMap
from cvtune.data.images import read_rgb
from cvtune.runs import RunDir, write_json

WHITE = 250


def make_run(folder: Path, objects: list[int], size_wh: tuple[int, int] = (100, 60)) -> RunDir:
    """A run directory with a validation image for each number of objects, white, ids from 1."""
    run = RunDir(folder / "run")
    images, annotations = [], []
    for number, count in enumerate(objects, start=1):
        path = folder / f"image{number}.png"
        Image.fromarray(np.full((size_wh[1], size_wh[0], 3), 255, np.uint8)).save(path)
        images.append({"id": number, "file_name": str(path), "width": size_wh[0], "height": size_wh[1]})
        for _ in range(count):
            bbox = [10, 10, 30, 20]
            one = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": bbox, "iscrowd": 0}
            annotations.append({**one, "area": 600, "segmentation": [[10, 10, 40, 10, 40, 30, 10, 30]]})
    write_json(run.data("val"), {"images": images, "annotations": annotations, "categories": []})
    write_json(run.classes, ClassMap(("cat", "<b>dog</b>"), (7, 9)).to_json())
    return run


def result(image_id: int, score: float, category_id: int = 2, **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category_id, "bbox": [50, 20, 40, 30], "score": score, **more}


def test_the_images_with_most_objects_are_drawn_the_same_at_every_evaluation(tmp_path: Path) -> None:
    run = make_run(tmp_path, [1, 0, 3, 2, 2, 5])
    write_json(run.images, {"val": [{"id": 6, "source_id": "x", "file_name": "sub/<i>six.png"}]})
    samples = SampleImages(run)
    first = samples.draw([], 7)
    assert [path.relative_to(run.path).as_posix() for path in first] == [
        f"samples/step-000007/{n}.jpg" for n in (1, 2, 3, 4)
    ]
    listed = json.loads((run.samples / "images.json").read_text())
    assert [row["objects"] for row in listed] == [5, 3, 2, 2]
    assert [row["name"] for row in listed] == ["sub/<i>six.png", "image3.png", "image4.png", "image5.png"]
    samples.draw([result(6, 0.9)], 1_234_567)
    assert sorted(path.name for path in run.samples.iterdir()) == ["images.json", "step-000007", "step-1234567"]
    assert SampleImages(run).draw([], 8)[0].read_bytes() == first[0].read_bytes()  # a resumed process chooses alike


def test_ground_truth_is_left_and_predictions_right(tmp_path: Path) -> None:
    run = make_run(tmp_path, [1])
    size = [60, 100]
    masked = result(1, 0.8, segmentation={"size": size, "counts": [50 * 60, 40 * 60, 10 * 60]})
    path = SampleImages(run).draw([masked, result(99, 1.0)], 1)[0]
    rgb = read_rgb(path)
    half = (rgb.shape[1] - 4) // 2
    assert half == 240  # enlarged from 100 px
    left, right = rgb[:, :half].min(axis=2) < WHITE, rgb[:, half + 4 :].min(axis=2) < WHITE
    scale = half / 100
    assert left[round(20 * scale), round(25 * scale)]  # within the mask of the only object
    assert not left[round(55 * scale), round(90 * scale)]
    assert right[round(55 * scale), round(70 * scale)]  # the predicted mask reaches the lower edge
    assert not right[round(20 * scale), round(25 * scale)]


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ([], []),
        ([0.31, 0.9, 0.3, 0.29], [0.3, 0.31, 0.9]),
        ([n / 100 for n in range(20)], [n / 100 for n in range(10, 20)]),
        ([0.5] * 150, [0.5] * 100),
    ],
    ids=["none", "certain ones", "none is certain", "too many"],
)
def test_which_predictions_are_drawn(scores: list[float], shown: list[float]) -> None:
    assert [r["score"] for r in _shown([result(1, score) for score in scores])] == shown


def test_a_resume_forgets_later_steps_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, [1])
    samples = SampleImages(run)
    samples.forget_after(0)  # there is no folder yet
    for step in (5, 10, 15):
        samples.draw([], step)
    (run.samples / "step-mine").mkdir()
    samples.forget_after(10)
    assert sorted(path.name for path in run.samples.iterdir()) == [
        "images.json",
        "step-000005",
        "step-000010",
        "step-mine",
    ]


@pytest.mark.parametrize("broken", ["image", "data", "folder"])
def test_what_goes_wrong_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str) -> None:
    run = make_run(tmp_path, [1])
    if broken == "image":
        (tmp_path / "image1.png").write_bytes(b"no image")
    elif broken == "data":
        run.data("val").write_text("{")
    else:
        run.samples.write_text("a file in its place")
    assert SampleImages(run).draw([], 3) == []
    assert capsys.readouterr().out.startswith("warning: no sample predictions at step 3: ")


def test_pictures_of_large_images_with_many_predictions_are_small(tmp_path: Path) -> None:
    run = make_run(tmp_path, [50, 50, 50, 50], (1333, 800))
    results = [result(1 + n % 4, 0.9) for n in range(400)] + [result(1000 + n // 100, 0.9) for n in range(100_000)]
    samples = SampleImages(run)
    written = samples.draw(results, 1)
    assert sum(path.stat().st_size for path in written) < 400_000
