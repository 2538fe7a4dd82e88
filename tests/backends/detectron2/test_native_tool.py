"""Detectron2's own training tool on the files of a run, as they are."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cvtune import verbs
from cvtune.backends.detectron2.probe import install_kernels

install_kernels()

MASK_RCNN = {
    "FPN": {"OUT_CHANNELS": 32},
    "RPN": {"POST_NMS_TOPK_TRAIN": 50, "POST_NMS_TOPK_TEST": 50},
    "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 32},
    "ROI_BOX_HEAD": {"FC_DIM": 64},
    "ROI_MASK_HEAD": {"CONV_DIM": 32, "NUM_CONV": 1},
}


@pytest.mark.train
def test_it_trains_and_scores_from_the_file_that_cvtune_wrote(
    tmp_path: Path, odd_shapes: Path, write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_spec(
        odd_shapes,
        tmp_path / "masks.yaml",
        backend="detectron2",
        model__family="mask_rcnn",
        data__image_size={"short": 64, "long": 64},
        train__epochs=1,
        train__ema=True,
        native={"MODEL": MASK_RCNN},
    )
    monkeypatch.chdir(tmp_path)
    run = verbs.train(spec)
    package = importlib.util.find_spec("detectron2")
    assert package is not None
    assert package.origin is not None
    tool = Path(package.origin).parent / "tools" / "plain_train_net.py"
    command = [sys.executable, "-m", "cvtune.native", str(run.path), str(tool)]
    command += ["--config-file", str(run.config), "OUTPUT_DIR", str(tmp_path / "own")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "does not heed weights, train.ema" in done.stderr
    assert (tmp_path / "own" / "model_final.pth").is_file()
    results = json.loads(next((tmp_path / "own/inference").glob("*/coco_instances_results.json")).read_text())
    classes = {category["id"] for category in json.loads(run.data("val").read_text())["categories"]}
    assert {result["category_id"] for result in results} <= classes
