"""What goes wrong in a run ends it with one line that names the cause and the fix, and leaves nothing half-written."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtune import verbs
from cvtune.errors import CvtuneError, DataError, RunError
from cvtune.runs import RunDir, read_json, read_jsonl

pytestmark = pytest.mark.train

TINY = {"native": {"model": {"fpn": {"channels": 32}, "kwargs": {"box_batch_size_per_image": 32}}}}


@pytest.fixture
def spec(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A spec of a few quick steps."""
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=6, val=2, size=64, seed=4)
    return write_spec(
        tmp_path / "shapes",
        tmp_path / "run.yaml",
        data__image_size={"short": 64, "long": 64},
        data__batch_size=2,
        train__epochs=1,
        train__log_every=1,
        **TINY,
    )


def test_a_loss_that_is_not_finite_names_step_losses_images_and_checkpoint(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        verbs.train(spec, ["train.optimizer.lr=1e15", "train.schedule.warmup_iterations=0", "train.epochs=4"])
    message = str(caught.value)
    assert "a loss is not finite" in message
    assert "loss_" in message
    assert "images/train" in message
    assert "last good checkpoint" in message
    assert "lower train.optimizer.lr" in message
    assert read_json(RunDir(tmp_path / "runs/run").record)["state"] == "failed"


def _break_an_image(tmp_path: Path) -> Path:
    """Cut a training image short: its header is fine, its pixels are not."""
    name = json.loads((tmp_path / "shapes/train.json").read_text())["images"][2]["file_name"]
    path = tmp_path / "shapes/images/train" / name
    path.write_bytes(path.read_bytes()[:200])
    return path


def test_an_image_that_cannot_be_decoded_is_named(spec: Path, tmp_path: Path) -> None:
    broken = _break_an_image(tmp_path)
    with pytest.raises(DataError) as caught:
        verbs.train(spec)
    assert broken.name in str(caught.value)
    assert "skip_bad_images" in str(caught.value)


def test_training_goes_on_without_a_broken_image_where_the_spec_says_so(spec: Path, tmp_path: Path) -> None:
    broken = _break_an_image(tmp_path)
    run = verbs.train(spec, ["data.skip_bad_images=true"])
    assert len([r for r in read_jsonl(run.log) if "loss" in r]) == 3
    said = (run.path / "worker.log").read_text() + run.receipt.read_text()
    assert broken.name in said


def test_a_disk_that_is_full_ends_the_run_with_a_reason(spec: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    done = subprocess.run(
        [sys.executable, "-m", "cvtune", "train", str(spec)], preexec_fn=limit, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "free space" in done.stderr
    assert "Traceback" not in done.stderr
    checkpoints = tmp_path / "runs/run/checkpoints"
    assert not checkpoints.exists() or list(checkpoints.iterdir()) == []


def test_empty_predictions_are_scored_zero_with_a_reason(spec: Path) -> None:
    run = verbs.train(spec, ["eval.score_threshold=1.0"])
    metrics = read_json(run.metrics)
    assert metrics["bbox"]["AP"] == 0.0
    assert any("no predictions" in note.lower() for note in metrics["notes"])
    assert "no predictions" in (run.path / "report.md").read_text().lower()


@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("model.family=faster_rcn", "did you mean 'faster_rcnn'"),
        ("model.backbone=resnet51_fpn", "did you mean 'resnet5"),
        ("model.zoo=x", "family"),
        ("native={model: {kwargs: {box_batch_size_per_imag: 1}}}", "did you mean 'box_batch_size_per_image'"),
        ("native={modle: {}}", "did you mean 'model'"),
        ("data.classes=[circel]", "did you mean 'circle'"),
        ("run.device=cuda", "CUDA"),
    ],
)
def test_what_only_a_backend_can_know_is_refused_before_training(spec: Path, override: str, fragment: str) -> None:
    with pytest.raises(CvtuneError) as caught:
        verbs.train(spec, [override])
    assert fragment in str(caught.value)
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value).strip()
