"""Every spec in configs/ is a test case: it plans, translates and trains a few steps on its own data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cvtune import verbs
from cvtune.backends import BACKENDS
from cvtune.runs import read_json, read_jsonl

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
# How each config's data is made in a test, as overrides; an empty list: it lies where the config says.
OVERRIDES = {
    "bccd_faster_rcnn": [],
    "bccd_yolox_nano": [],
    "nuclei_mask_rcnn": [
        "data.train.annotations={data}/nuclei/annotations.json",
        "data.train.images={data}/nuclei/images",
    ],
    "demo_shapes": [
        "data.train.annotations={data}/shapes/train.json",
        "data.train.images={data}/shapes/images/train",
        "data.val.annotations={data}/shapes/val.json",
        "data.val.images={data}/shapes/images/val",
    ],
}


@pytest.fixture(scope="module")
def made_data(
    make_shapes: Callable[..., Any],
    load_script: Callable[[Path], ModuleType],
    tmp_path_factory: pytest.TempPathFactory,
    real_data: Path,
) -> Path:
    """The data sets that scripts make: shapes, and nuclei as COCO."""
    folder = tmp_path_factory.mktemp("made")
    make_shapes(folder / "shapes", train=24, val=8, size=128, seed=0)
    load_script(ROOT / "datasets" / "nuclei.py").convert_nuclei(real_data / "nuclei", folder / "nuclei")
    return folder


def test_every_config_has_a_case() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(OVERRIDES)


@pytest.mark.real
@pytest.mark.parametrize("name", OVERRIDES)
def test_a_config_plans_and_translates(name: str, made_data: Path, real_weights: Path) -> None:
    overrides = [override.format(data=made_data) for override in OVERRIDES[name]]
    plan = verbs.plan(CONFIGS / f"{name}.yaml", overrides)
    assert plan["train.epochs"] >= 1
    native = verbs.translate(CONFIGS / f"{name}.yaml", overrides)
    asked = {override.asked_by for override in native.overrides}
    assert asked & {"data.image_size.short", "data.image_size.square"}
    assert native.text.startswith("#")


@pytest.mark.real
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in OVERRIDES if "yolox" not in name])
def test_a_config_serves_every_backend_that_has_its_family(
    name: str, backend: str, made_data: Path, real_weights: Path
) -> None:
    overrides = [override.format(data=made_data) for override in OVERRIDES[name]]
    native = verbs.translate(CONFIGS / f"{name}.yaml", [*overrides, f"backend={backend}"])
    assert "data.classes" in {override.asked_by for override in native.overrides}
    assert native.text.startswith("#")


@pytest.mark.real
@pytest.mark.train
@pytest.mark.parametrize("name", OVERRIDES)
def test_a_config_trains_some_steps(
    name: str, made_data: Path, real_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [override.format(data=made_data) for override in OVERRIDES[name]]
    # YOLOX changes its pipeline at an epoch, and takes whole ones.
    length = ["train.epochs=2"] if "yolox" in name else ["train.epochs=null", "train.iterations=30"]
    short = [*length, "train.log_every=1", "train.schedule.warmup_iterations=20"]
    run = verbs.train(CONFIGS / f"{name}.yaml", [*overrides, *short])
    losses = [record["loss"] for record in read_jsonl(run.log) if "loss" in record]
    assert len(losses) == (52 if "yolox" in name else 30)
    assert all(map(math.isfinite, losses))
    assert sum(losses[-5:]) < sum(losses[:5])
    metrics = read_json(run.metrics)
    assert metrics["checked_with"] == "pycocotools"
    assert set(metrics) >= ({"bbox", "segm"} if "mask" in name else {"bbox"})
    if name == "bccd_faster_rcnn":
        receipt = read_json(run.receipt)
        assert receipt["annotations"] == {"in": 4888, "out": 4886, "dropped": 2}
        assert metrics["split"] == "test"
        assert metrics["images"] == 72
    html = (run.path / "report.html").read_text(encoding="utf-8")
    assert json.dumps(run.path.name)[1:-1] in html
    assert len(html) < 5_000_000
