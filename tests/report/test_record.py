"""report.json fits its schema, whatever the run's files hold; the schema is strict enough to mean something."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from cvtune.report import write_report
from cvtune.report.record import schema
from cvtune.runs import RunDir, read_json, write_json


def record_of(*runs: RunDir) -> dict[str, Any]:
    path = write_report(runs)[2]
    content: dict[str, Any] = json.loads(path.read_bytes())
    jsonschema.Draft202012Validator(schema()).validate(content)
    return content


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    # Every object lists its keys: one that is new in the record and not in the schema is a mistake.
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "cvtune": "1", "title": "", "runs": [], "comparison": None}, schema())


@pytest.mark.parametrize("masks", [False, True])
def test_a_whole_run(make_run: Any, masks: bool) -> None:
    record = record_of(make_run(masks=masks))
    assert record["title"].startswith("Mask AP 49.8" if masks else "Box AP 49.8")
    [run] = record["runs"]
    assert record["comparison"] is None
    assert run["scores"]["bbox"]["AP"] == 0.498
    assert run["scores"]["bbox"]["APs"] is None
    assert ("segm" in run["scores"]) is masks
    assert [row["name"] for row in run["classes"]] == ["red disc", "blue disc"]
    assert run["classes"][1]["scores"]["bbox"]["AP"] == pytest.approx(0.398)
    assert run["threshold"] == {
        "score": 0.85,
        "F1": pytest.approx(22 / 25),
        "found": 11,
        "false": 2,
        "missed": 1,
        "mistakes": {
            "wrong class": 0, "badly placed": 0, "wrong class, badly placed": 0, "duplicate": 0, "background": 2,
        },
    }  # fmt: skip
    assert run["images"][0] == {
        "file_name": "photos/disc 3.png", "reason": "worst", "objects": 2, "found": 2, "missed": 0, "false": 2,
    }  # fmt: skip
    assert {"key": "train.epochs", "value": 4, "reason": "spec"} in run["plan"]
    assert run["overrides"][1]["asked_by"] == "train.optimizer.lr"
    assert run["command"] == "cvtune train configs/discs.yaml -s train.epochs=4"


def test_several_runs(make_run: Any) -> None:
    runs = [make_run("first", ap=0.5), make_run("second", ap=0.531), make_run("unscored")]
    runs[2].metrics.unlink()
    record = record_of(*runs)
    figure = record["comparison"]["figures"][0]
    assert (figure["kind"], figure["name"]) == ("bbox", "AP")
    assert figure["values"] == [0.5, 0.531, None]
    assert figure["differences"] == [0, pytest.approx(0.031), None]
    assert [run["label"] for run in record["runs"]] == ["first", "second", "unscored"]


@pytest.mark.parametrize("name", ["plan.json", "metrics.json", "run.json", "overrides.json", "predictions.json"])
@pytest.mark.parametrize(
    "content", [None, "[]", '[null, 3, "x"]', '{"values": {"a": 3, "b": {"value": NaN}}, "bbox": []}']
)
def test_runs_with_holes_fit_too(make_run: Any, name: str, content: str | None) -> None:
    run = make_run(images=2)
    if content is None:
        (run.path / name).unlink()
    else:
        (run.path / name).write_text(content)
    record = record_of(run)
    assert record["runs"][0]["name"]


def test_what_is_no_json_becomes_json(make_run: Any) -> None:
    run = make_run(images=2)
    run.plan.write_text('{"values": {"a": {"value": [NaN, Infinity, "\\ud800x"], "reason": "spec"}}}')
    write_json(run.record, read_json(run.record) | {"seconds": 12.5})
    assert record_of(run)["runs"][0]["plan"] == [{"key": "a", "value": [None, None, "?x"], "reason": "spec"}]
