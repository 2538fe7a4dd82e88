"""Paired differences: sure where they are systematic, unclear where they are chance."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.classes import ClassMap
from cvtune.errors import DataError
from cvtune.evaluation import evaluate
from cvtune.evaluation.comparison import compare_files, compare_runs
from cvtune.runs import RunDir, read_json, write_json

Json = dict[str, Any]


def make_truth(images: int = 40) -> Json:
    rng = np.random.default_rng(0)
    boxes = [
        (i, int(rng.integers(1, 3)), [60 * k, 10, 40, 40])
        for i in range(1, images + 1)
        for k in range(int(rng.integers(1, 6)))
    ]
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 400, "height": 100} for i in range(1, images + 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": box, "area": 1600, "iscrowd": 0}
            for k, (i, c, box) in enumerate(boxes, 1)
        ],
    }


def detect(truth: Json, skill: float, seed: int) -> list[Json]:
    rng = np.random.default_rng(seed)
    return [
        {"image_id": a["image_id"], "category_id": a["category_id"],
         "bbox": [a["bbox"][0] + float(rng.normal(0, 3)), *a["bbox"][1:]], "score": float(rng.random())}
        for a in truth["annotations"]
        if rng.random() < skill
    ]  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    truth = make_truth()
    write_json(tmp_path / "gt.json", truth)
    write_json(tmp_path / "good.json", detect(truth, 0.95, 1))
    write_json(tmp_path / "bad.json", detect(truth, 0.6, 2))
    write_json(tmp_path / "again.json", detect(truth, 0.95, 3))
    return tmp_path


def test_a_systematic_difference(files: Path) -> None:
    told = compare_files(files / "gt.json", files / "bad.json", files / "good.json", samples=300)
    ap = told.figures["AP"]
    truth = read_json(files / "gt.json")
    assert ap.a == pytest.approx(evaluate(truth, read_json(files / "bad.json"))["bbox"]["AP"], abs=2e-3)
    assert ap.b == pytest.approx(evaluate(truth, read_json(files / "good.json"))["bbox"]["AP"], abs=2e-3)
    assert ap.interval is not None
    assert 0 < ap.interval[0] < ap.difference < ap.interval[1]
    low, high = (f"{100 * end:.1f}" for end in ap.interval)
    assert told.sentence == f"good is better by {100 * ap.difference:.1f} AP, interval {low} to {high}."
    turned = compare_files(files / "gt.json", files / "good.json", files / "bad.json", samples=300)
    assert turned.sentence == told.sentence
    assert set(told.per_class) == {"cat", "dog"}
    assert "APl" not in told.figures
    assert json.dumps(told.to_json(), allow_nan=False)


def test_chance_is_called_no_clear_difference(files: Path) -> None:
    told = compare_files(files / "gt.json", files / "good.json", files / "again.json", samples=300)
    assert told.sentence.startswith("No clear difference: ")
    same = compare_files(files / "gt.json", files / "good.json", files / "good.json", samples=300)
    assert same.figures["AP"].interval == (0.0, 0.0)
    assert same.sentence == f"No difference: both have {100 * same.figures['AP'].a:.1f} AP, whichever images are drawn."


def make_run(folder: Path, truth: Json, results: list[Json], classes: ClassMap) -> RunDir:
    run = RunDir(folder)
    write_json(run.data("val"), truth)
    write_json(run.classes, classes.to_json())
    listed = [{"id": i["id"], "source_id": f"s{i['id']}", "file_name": i["file_name"]} for i in truth["images"]]
    write_json(run.images, {"val": listed})
    write_json(run.record, {})
    write_json(run.predictions, [{**r, "image_id": f"s{r['image_id']}"} for r in results])
    return run


CLASSES = ClassMap(("cat", "dog"), (1, 2))


def test_runs(tmp_path: Path) -> None:
    truth = make_truth()
    a = make_run(tmp_path / "a", truth, detect(truth, 0.6, 2), CLASSES)
    b = make_run(tmp_path / "b", truth, detect(truth, 0.95, 1), CLASSES)
    told = compare_runs(a, b, samples=200)
    assert told.sentence.startswith("b is better by ")
    assert told.images == 40
    # A run of some of the images is compared on those.
    fewer = copy.deepcopy(truth)
    fewer["images"] = fewer["images"][:30]
    fewer["annotations"] = [x for x in fewer["annotations"] if x["image_id"] <= 30]
    c = make_run(tmp_path / "c", fewer, detect(fewer, 0.95, 4), CLASSES)
    told = compare_runs(a, c, samples=200)
    assert told.images == 30
    assert told.notes == ("Only the 30 images that both runs have are compared, of 40.",)
    with pytest.raises(DataError, match="10 of its 40 val images are none of"):
        compare_runs(c, a, samples=200)


def test_runs_that_do_not_compare(tmp_path: Path) -> None:
    truth = make_truth(4)
    a = make_run(tmp_path / "a", truth, detect(truth, 0.9, 1), CLASSES)
    b = make_run(tmp_path / "b", truth, detect(truth, 0.9, 1), ClassMap(("dog", "cat"), (1, 2)))
    with pytest.raises(DataError, match="runs of different classes do not compare"):
        compare_runs(a, b)
    b = make_run(tmp_path / "c", truth, [], CLASSES)
    b.predictions.unlink()
    with pytest.raises(DataError, match=r"predictions\.json: no such file; `cvtune eval .*c --split val`"):
        compare_runs(a, b)
    moved = copy.deepcopy(truth)
    for image in moved["images"]:
        image["file_name"] = f"other/{image['file_name']}"
    with pytest.raises(DataError, match="none of its val images is one of"):
        compare_runs(a, make_run(tmp_path / "d", moved, [], CLASSES))
