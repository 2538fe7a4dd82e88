"""What stands behind the scores, shown: from a whole analysis.json, from damaged ones, and from none."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cvtune.report import write_report
from cvtune.report.analysis import analysis_view
from cvtune.report.facts import read_facts
from cvtune.runs import RunDir, read_json, write_json

HOSTILE = "<script>alert(1)</script>"


def kind(names: tuple[str, ...] = ("red disc", "blue disc")) -> dict[str, Any]:
    recall = [i / 100 for i in range(101)]
    rows: list[tuple[str | None, float]] = [(None, 0.9), *((name, 0.8) for name in names)]
    return {
        "errors": {
            "iou": 0.5, "background_iou": 0.1, "AP50": 0.8, "false_positives": 0.07, "missed": 0.11,
            "kinds": [
                {"kind": name, "meaning": "m", "count": 3, "dAP": 0.01 * (i + 1)}
                for i, name in enumerate(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"))
            ],
        },
        "confusion": {
            "iou": 0.5, "min_score": 0.42, "labels": [*names, "background"],
            "matrix": [[(310 if i == j else 2) for j in range(len(names) + 1)] for i in range(len(names) + 1)],
        },
        "per_class": [
            {"class": name, "objects": 6, "detections": 9, "AP": 0.5, "AP_interval": [0.41, 0.58], "threshold": 0.37,
             "precision": 0.9, "recall": 0.8, "F1": 0.85}
            for name in names
        ],
        "best": {"threshold": 0.42, "precision": 0.9, "recall": 0.8, "F1": 0.85},
        "curves": [
            {"class": name, "recall": recall, "precision": [max(0.0, p - r / 3) for r in recall], "score": recall}
            for name, p in rows
        ],
        "thresholds": [
            {"class": name, "score": recall[::2], "precision": recall[::2], "recall": recall[::2], "F1": recall[::2]}
            for name, _ in rows
        ],
        "calibration": {
            "iou": 0.5, "ECE": 0.06, "MCE": 0.2,
            "bins": [{"count": i, "confidence": i / 10, "precision": i / 12} for i in range(10)],
        },
        "worst_images": [],
        "label_errors": [
            {"kind": "missing", "image_id": 4, "file_name": "/home/me/photos/3.png", "class": names[0],
             "bbox_xywh": [0, 0, 9, 9], "score": 0.98, "annotated_class": None, "annotated_bbox_xywh": None, "iou": 0.0}
        ],
        "slices": [
            {"slice": name, "images": 6, "objects": 12, "AP": 0.5, "AP50": 0.7, "AP_interval": [0.4, 0.6]}
            for name in ("all", "night")
        ],
        "intervals": {"AP": [0.441, 0.552], "AP50": [0.6, 0.9], "AP75": None},
    }  # fmt: skip


def analyse(run: RunDir, names: tuple[str, ...] = ("red disc", "blue disc"), split: str = "val") -> dict[str, Any]:
    content = {"schema": 1, "split": split, "images": 6, "objects": 12, "detections": 13, "classes": list(names)}
    content |= {"category_ids": [1, 2], "bbox": kind(names)}
    write_json(run.path / "analysis.json", content)
    return content


EXPLANATION = {
    "schema": 1,
    "verdict": "The boxes are read in the wrong order.",
    "causes": [
        {"rule": "boxes_xyxy", "certainty": 0.97, "seen": "AP50 rises", "fix": "write boxes as l, t, w, h",
         "line": "bbox in the predictions file", "AP50": [0.02, 0.71]}
    ],
}  # fmt: skip


def test_everything_is_shown(make_run: Any) -> None:
    run = make_run()
    analyse(run)
    write_json(run.path / "explanation.json", EXPLANATION)
    html, markdown, record = write_report([run])
    page = html.read_text()
    for words in (
        "Box AP 49.8 (95 % interval 44.1 to 55.2; AP50 79.8)",
        'href="#why"',
        "The boxes are read in the wrong order.",
        "97 %",
        "write boxes as l, t, w, h",
        "What each kind of mistake costs",
        "Box precision over recall at IoU 0.5",
        "Box F1 over the threshold",
        "best 0.42",
        "Box calibration, expected error 0.06",
        "41.0 to 58.0",
        "At scores of 0.42 and more.",
        "not annotated",
        "<bdi>3.png</bdi>",
        "night",
        "60.0 to 90.0",
    ):
        assert words in page, words
    assert "/home/me" not in page
    text = markdown.read_text()
    assert "| AP | 49.8 (44.1 to 55.2) |" in text
    assert "- 97 % AP50 rises: write boxes as l, t, w, h `bbox in the predictions file`" in text
    [told] = json.loads(record.read_text())["runs"]
    assert told["intervals"]["bbox"]["AP"] == [0.441, 0.552]
    assert told["intervals"]["bbox"]["AP75"] is None
    assert told["verdict"] == "The boxes are read in the wrong order."
    assert told["causes"][0]["rule"] == "boxes_xyxy"


def test_of_another_split_it_is_left_out(make_run: Any) -> None:
    run = make_run()
    analyse(run, split="test")
    assert 'id="why"' not in write_report([run])[0].read_text()


def test_many_classes_stay_readable(make_run: Any) -> None:
    run = make_run()
    names = tuple(f"class {i}" for i in range(60))
    content = analyse(run, names)
    content["bbox"]["confusion"]["matrix"][3][5] = 99
    write_json(run.path / "analysis.json", content)
    [view] = analysis_view(read_facts(run)).kinds
    assert view.confusion == ()
    assert view.confusion_note.startswith("At scores of 0.42 and more. Most confused: class 3 taken for class 5 (99); ")
    assert [len(chart.legend) for chart in view.charts] == [0, 7, 7, 2]


def spoil(content: dict[str, Any], value: Any) -> list[dict[str, Any]]:
    """Copies of `content` with one value each, at every place of the kind's record, replaced."""
    spoilt = []
    for key, part in content["bbox"].items():
        for inner in [None, *(part if isinstance(part, dict) else range(len(part[:1])))]:
            made = copy.deepcopy(content)
            if inner is None:
                made["bbox"][key] = value
            else:
                made["bbox"][key][inner] = value
            spoilt.append(made)
    return spoilt


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [[1]], [{"class": 3, "recall": 1}], {"AP": [1]}])
def test_parts_of_another_form_are_left_out(make_run: Any, value: Any) -> None:
    run = make_run()
    for made in spoil(analyse(run), value):
        write_json(run.path / "analysis.json", made)
        analysis_view(read_facts(run))
    write_json(run.path / "analysis.json", value)
    write_json(run.path / "explanation.json", {"verdict": value, "causes": value})
    write_report([run])


def test_hostile_names_stay_text(make_run: Any) -> None:
    run = make_run()
    content = json.loads(json.dumps(analyse(run)).replace("red disc", HOSTILE).replace("photos", HOSTILE))
    write_json(run.path / "analysis.json", content)
    write_json(run.path / "explanation.json", json.loads(json.dumps(EXPLANATION).replace("bbox in", HOSTILE)))
    html, markdown, _ = write_report([run])
    assert HOSTILE not in html.read_text()
    assert "&lt;script&gt;alert(1)" in html.read_text()
    assert "<script>" not in markdown.read_text().replace(f"`{HOSTILE} the predictions file`", "")
    assert read_json(run.path / "report.json")
