"""Every sabotage is named first; healthy runs, weak ones too, raise no alarm."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from cvtune.cli import app
from cvtune.evaluation.why import explain, explain_run
from cvtune.evaluation.why.boxes import LAYOUTS
from cvtune.runs import read_json, write_json


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("sabotage", Path(__file__).with_name("sabotage.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sabotage"] = module
    spec.loader.exec_module(module)
    return module


sabotage = _load()


@pytest.mark.parametrize("name", sabotage.SABOTAGES)
def test_the_cause_comes_first(name: str, tmp_path: Path) -> None:
    causes = explain_run(sabotage.make_sabotaged(name, tmp_path)).causes
    assert causes, "nothing was seen"
    assert causes[0].rule in sabotage.SABOTAGES[name].rules, [(c.rule, c.certainty, c.seen) for c in causes]


@pytest.mark.parametrize("name", sabotage.HEALTHY)
def test_no_alarm_on_a_healthy_run(name: str, tmp_path: Path) -> None:
    run = sabotage.write_scene(sabotage.make_scene(**sabotage.HEALTHY[name]), tmp_path)
    explanation = explain_run(run)
    assert not explanation.causes, [(c.rule, c.certainty, c.seen) for c in explanation.causes]
    assert explanation.verdict.startswith("Nothing suspicious was seen")


@pytest.mark.parametrize("scaled", [lambda s: 100 * s, lambda s: math.log(s / (1 - s))], ids=["percent", "logits"])
@pytest.mark.parametrize("name", ["good", "crowded", "perfect"])
def test_no_alarm_on_scores_of_another_scale(name: str, scaled: Any) -> None:
    scene = sabotage.make_scene(**sabotage.HEALTHY[name])
    for result in scene.results:
        result["score"] = scaled(result["score"])
    assert not explain(scene.truth, scene.results).causes


def test_files_alone_and_what_cannot_be_scored(tmp_path: Path) -> None:
    """An explanation is written where the scores would be, though there are none."""
    scene = sabotage.make_scene()
    sabotage.SABOTAGES["another split"].change(scene)
    write_json(tmp_path / "gt.json", scene.truth)
    write_json(tmp_path / "pred.json", scene.results)
    arguments = ["eval", "--gt", str(tmp_path / "gt.json"), "--pred", str(tmp_path / "pred.json"), "--explain"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "metrics.json")])
    assert done.exit_code == 0, done.output
    assert "1. predictions_of_another_split" in done.output
    told = read_json(tmp_path / "explanation.json")
    assert told["causes"][0]["rule"] == "predictions_of_another_split"
    assert set(told["causes"][0]) == {"rule", "certainty", "seen", "fix", "line", "AP50"}
    assert not (tmp_path / "metrics.json").exists()


def test_a_run_writes_its_explanation(tmp_path: Path) -> None:
    run = sabotage.make_sabotaged("corners for sizes", tmp_path / "run")
    done = CliRunner().invoke(app, ["eval", str(run.path), "--explain"])
    assert done.exit_code == 0, done.output
    told = read_json(run.path / "explanation.json")
    [cause] = told["causes"]
    assert cause["rule"] == "boxes_xyxy"
    before, after = cause["AP50"]
    assert before < 0.3 < after
    assert told["verdict"].startswith("Almost certainly: Boxes are left, top, right, bottom")


def test_another_split_or_other_predictions_leave_the_runs_explanation_alone(tmp_path: Path) -> None:
    run = sabotage.make_sabotaged("corners for sizes", tmp_path / "run")
    write_json(run.data("test"), read_json(run.data("val")))
    write_json(run.images, {**read_json(run.images), "test": read_json(run.images)["val"]})
    write_json(run.predictions_of("val"), read_json(run.predictions))
    write_json(tmp_path / "none.json", [])
    write_json(run.explanation_of("test"), {"the test split's": 1})
    for arguments in (["--split", "val"], ["--pred", str(tmp_path / "none.json")]):
        done = CliRunner().invoke(app, ["eval", str(run.path), "--explain", *arguments])
        assert done.exit_code == 0, done.output
    assert read_json(run.explanation_of("test")) == {"the test split's": 1}
    assert read_json(run.explanation_of("val"))["causes"][0]["rule"] == "boxes_xyxy"


def test_files_that_other_programs_write_are_explained(tmp_path: Path) -> None:
    """Names of files as image ids are taken by eval, and said to be the cause by --explain."""
    scene = sabotage.make_scene()
    stems = {image["id"]: Path(image["file_name"]).stem for image in scene.truth["images"]}
    wrapped = {"predictions": [{**r, "image_id": stems[r["image_id"]]} for r in scene.results]}
    causes = explain(scene.truth, wrapped).causes
    assert [cause.rule for cause in causes] == ["image_ids_file_names"]


@pytest.mark.parametrize("listed", ["as shown", "as stored"])
def test_image_files_turned_by_exif(listed: str, tmp_path: Path) -> None:
    """Files that lie on their side: trouble where the ground truth is of the upright image and predictions are not."""
    scene = sabotage.make_scene(images=12, sizes=((640, 480),))
    exif = Image.Exif()
    exif[0x0112] = 6
    for k, image in enumerate(scene.truth["images"]):
        image["file_name"] = f"{k}.jpg"
        stored = (480, 640) if listed == "as shown" else (640, 480)
        Image.new("RGB", stored).save(tmp_path / image["file_name"], exif=exif)
    if listed == "as shown":
        sabotage.SABOTAGES["a third of the images turned"].change(scene)
    else:
        for image in scene.truth["images"]:
            image["width"], image["height"] = 640, 480  # upright they are 480 wide
    write_json(tmp_path / "gt.json", scene.truth)
    causes = explain(tmp_path / "gt.json", scene.results).causes
    assert [cause.rule for cause in causes] == (["images_turned"] if listed == "as shown" else [])


def test_copies_of_training_images_are_found_by_content(tmp_path: Path) -> None:
    scene = sabotage.make_scene(images=8)
    for split, data in (("train", scene.train), ("val", scene.truth)):
        for k, image in enumerate(data["images"]):
            image["file_name"] = str(tmp_path / f"{split}-{k}.bin")
            content = k if split == "val" and k < 3 else (k + 100 if split == "val" else k)
            (tmp_path / f"{split}-{k}.bin").write_bytes(bytes([content]) * 50)
    causes = explain_run(sabotage.write_scene(scene, tmp_path / "run")).causes
    assert [cause.rule for cause in causes] == ["train_val_leak"]
    assert causes[0].seen.startswith("3 of the 8 scored images were trained on")


def test_a_run_without_predictions_is_judged_by_its_training(tmp_path: Path) -> None:
    run = sabotage.make_sabotaged("loss not a number", tmp_path)
    run.predictions.unlink()
    assert explain_run(run).causes[0].rule == "learning_rate_too_high"


def test_the_page_lists_every_rule_and_no_other() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs/why.md").read_text(encoding="utf-8")
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    code = "".join(path.read_text(encoding="utf-8") for path in (root / "cvtune/evaluation/why").glob("*.py"))
    assert not {name for name in listed if f'"{name}"' not in code}
    assert {rule for case in sabotage.SABOTAGES.values() for rule in case.rules} <= listed
    made = set(re.findall(r'(?:Cause|BoxReading|IdReading|_Step)\(\s*"(\w+)"', code)) | {
        rule for rule, *_ in LAYOUTS[1:]
    }
    assert made <= listed, made - listed
