"""evaluate_run: source ids in, canonical ground truth, metrics.json out."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.classes import ClassMap
from cvtune.errors import DataError
from cvtune.evaluation import evaluate, evaluate_run
from cvtune.runs import RunDir, read_json, write_json

Json = dict[str, Any]
SOURCE_IMAGE = {1: "b/0002.png", 2: 0}
CLASSES = ClassMap(("cat", "dog"), ("c-7", 3))


@pytest.fixture
def run(small: Json, found: list[Json], tmp_path: Path) -> RunDir:
    """A run with val; its predictions name images and categories as the source did."""
    run = RunDir(tmp_path / "run")
    write_json(run.data("val"), small)
    write_json(run.classes, CLASSES.to_json())
    listed = [{"id": i, "source_id": s, "file_name": f"{i}.png"} for i, s in SOURCE_IMAGE.items()]
    write_json(run.images, {"train": [{"id": 1, "source_id": "t1", "file_name": "t.png"}], "val": listed})
    write_json(run.predictions, to_source(found))
    return run


def to_source(results: list[Json]) -> list[Json]:
    return [
        {**r, "image_id": SOURCE_IMAGE[r["image_id"]], "category_id": CLASSES.source_ids[r["category_id"] - 1]}
        for r in results
    ]


def test_scores_and_file(run: RunDir, small: Json, found: list[Json]) -> None:
    metrics = evaluate_run(run, check=True)
    expected = evaluate(small, found, check=True)
    intervals = metrics["bbox"].pop("intervals")
    assert intervals["AP"] == [1.0, 1.0]
    assert metrics["bbox"] == expected["bbox"]
    metrics["bbox"]["intervals"] = intervals
    assert metrics["split"] == "val"
    assert metrics["checked_with"] == "pycocotools"
    assert read_json(run.metrics) == metrics
    assert not any("chose the best checkpoint" in note for note in metrics["notes"])


def test_val_that_chose_the_checkpoint_says_so(run: RunDir, small: Json) -> None:
    run.checkpoints.mkdir()
    run.best.write_bytes(b"")
    assert any("chose the best checkpoint" in note for note in evaluate_run(run)["notes"])


def test_test_split_is_the_default_where_there_is_one(run: RunDir, small: Json) -> None:
    write_json(run.data("test"), small)
    write_json(run.images, {**read_json(run.images), "test": read_json(run.images)["val"]})
    assert evaluate_run(run)["split"] == "test"
    # Another split's scores lie beside the run's own, which stay.
    write_json(run.predictions_of("val"), read_json(run.predictions))
    assert evaluate_run(run, split="val")["split"] == "val"
    assert read_json(run.metrics)["split"] == "test"
    assert read_json(run.metrics_of("val"))["split"] == "val"


def test_other_predictions_and_engine(run: RunDir, found: list[Json], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    write_json(other, to_source(found[:1]))
    metrics = evaluate_run(run, predictions=other, engine="pycocotools")
    assert metrics["detections"] == 1
    assert metrics["engine"] == "pycocotools"


def test_scores_of_other_predictions_are_not_the_runs(run: RunDir, found: list[Json], tmp_path: Path) -> None:
    own = evaluate_run(run)
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    other = tmp_path / "other.json"
    write_json(other, to_source(found[:1]))
    metrics = evaluate_run(run, predictions=other, analysis=tmp_path / "analysis.json")
    assert metrics["bbox"]["AP"] != own["bbox"]["AP"]
    assert read_json(tmp_path / "analysis.json")["detections"] == 1
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before
    assert evaluate_run(run, predictions=run.predictions) == own


def test_the_sidecar_must_be_the_runs_lock(run: RunDir) -> None:
    sidecar = run.path / "predictions.lock.json"
    write_json(sidecar, {"classes": CLASSES.to_json()})
    evaluate_run(run)
    swapped = ClassMap(("dog", "cat"), (3, "c-7"))
    write_json(sidecar, {"classes": swapped.to_json()})
    run.metrics.unlink()
    with pytest.raises(DataError, match=r"predictions\.json: its classes are not this run's; got \[3=dog, c-7=cat\]"):
        evaluate_run(run)
    assert not run.metrics.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(image_id="t1"), r"does not list: 't1'; .*they are images of the split 'train'"),
        (lambda r: r.update(image_id=2), r"does not list: 2; its ids are like 'b/0002.png', 0$"),
        (lambda r: r.update(image_id="0"), r"write 0 instead of '0'"),
        (lambda r: r.update(category_id=1), r"does not list: 1; allowed: 'c-7', 3"),
    ],
)
def test_canonical_or_foreign_ids_are_refused(run: RunDir, change: Any, message: str) -> None:
    results = read_json(run.predictions)
    change(results[0])
    write_json(run.predictions, results)
    with pytest.raises(DataError, match=message):
        evaluate_run(run)


def test_missing_files(run: RunDir) -> None:
    with pytest.raises(DataError, match=r"test\.json: no such file; the run has no split 'test'"):
        evaluate_run(run, split="test")
    run.predictions.unlink()
    with pytest.raises(DataError, match=r"predictions\.json: no such file"):
        evaluate_run(run)


def test_damaged_runs(run: RunDir, small: Json) -> None:
    listed = read_json(run.images)
    write_json(run.images, {**listed, "val": listed["val"][:1]})
    with pytest.raises(DataError, match="maps 1 images"):
        evaluate_run(run)
    write_json(run.images, listed)
    swapped = copy.deepcopy(small)
    swapped["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    write_json(run.data("val"), swapped)
    with pytest.raises(DataError, match=r"\['dog', 'cat'\] are not the run's classes"):
        evaluate_run(run)


@pytest.mark.parametrize(
    ("task", "kinds"), [("detect", {"bbox"}), ("segment", {"bbox", "segm"}), (None, {"bbox", "segm"})]
)
def test_no_predictions_follow_the_task(run: RunDir, small: Json, task: str | None, kinds: set[str]) -> None:
    for a in small["annotations"]:
        x, y, w, h = a["bbox"]
        a["segmentation"] = [[x, y, x, y + h, x + w, y + h, x + w, y]]
    write_json(run.data("val"), small)
    write_json(run.predictions, [])
    if task:
        write_json(run.recipe, {"task": task})
    metrics = evaluate_run(run)
    assert {"bbox", "segm"} & metrics.keys() == kinds
    assert json.loads(run.metrics.read_text())["bbox"]["AP"] == 0
