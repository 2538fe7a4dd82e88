"""A run from a LazyConfig: samples as Detectron2's own mapper makes them, resumed exactly, trained by its own tool."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvtune import verbs
from cvtune.backends.base import PredictImage
from cvtune.backends.detectron2.probe import install_kernels
from cvtune.runs import RunDir, read_json, read_jsonl

install_kernels()

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

# Large-scale jitter's official model with a thin pyramid: shapes of heads are said apart from the pyramid's width.
THIN = {"_target_": "detectron2.layers.ShapeSpec", "channels": 32}
JITTER: dict[str, Any] = {
    "backend": "detectron2",
    "model": {"zoo": "new_baselines/mask_rcnn_R_50_FPN_50ep_LSJ", "weights": "none"},
    "data__image_size": {"short": 64, "long": 64},
    "train__log_every": 1,
    "eval__score_threshold": 0.0,
    "native": {
        "model": {
            "backbone": {"out_channels": 32},
            "proposal_generator": {
                "head": {"in_channels": 32, "conv_dims": [-1]},
                "post_nms_topk": [50, 50],
            },
            "roi_heads": {
                "batch_size_per_image": 32,
                "box_head": {"input_shape": {**THIN, "height": 7, "width": 7}, "conv_dims": [32], "fc_dims": [64]},
                "box_predictor": {"input_shape": {"_target_": "detectron2.layers.ShapeSpec", "channels": 64}},
                "mask_head": {"input_shape": {**THIN, "height": 14, "width": 14}, "conv_dims": [32, 32]},
            },
        }
    },
}
FCOS: dict[str, Any] = {
    "backend": "detectron2",
    "model": {"family": "fcos", "backbone": "resnet18_fpn", "weights": "none"},
    "data__image_size": {"short": [48, 64], "long": 64},
    "train__log_every": 1,
    "native": {"model": {"head": {"conv_dims": [256]}}},
}


@pytest.fixture(scope="module")
def masks_run(tmp_path_factory: pytest.TempPathFactory, odd_shapes: Path, write_spec: Callable[..., Path]) -> RunDir:
    """A short run with large-scale jitter on the odd set: crowds, empty images, RLE."""
    folder = tmp_path_factory.mktemp("lazy-masks")
    spec = write_spec(odd_shapes, folder / "masks.yaml", **JITTER | {"train__epochs": 1, "train__ema": True})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return verbs.train(spec)


def test_a_run_with_jitter_trains_scores_and_predicts_masks(masks_run: RunDir) -> None:
    assert masks_run.config.name == "config.py"
    assert (masks_run.path / "config_delta.py").is_file()
    steps = [record for record in read_jsonl(masks_run.log) if "loss" in record]
    assert [record["step"] for record in steps] == [1, 2, 3, 4]
    assert np.isfinite([record["loss"] for record in steps]).all()
    assert set(read_json(masks_run.metrics)) >= {"bbox", "segm"}
    predictions = read_json(masks_run.predictions)
    assert {p["category_id"] for p in predictions} <= {7, 0, 42}
    assert all(p["segmentation"]["size"] == [96, 96] for p in predictions)


def test_a_model_of_mmdetections_trains_and_predicts_masks(
    odd_shapes: Path, write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detectron2's own example of one, with a crowd, an image without objects and RLE."""
    monkeypatch.chdir(tmp_path)
    thin = {"in_channels": 32}
    heads = {
        "bbox_roi_extractor": {"out_channels": 32},
        "bbox_head": {**thin, "fc_out_channels": 64},
        "mask_roi_extractor": {"out_channels": 32},
        "mask_head": {**thin, "conv_out_channels": 32},
    }
    detector = {"neck": {"out_channels": 32}, "rpn_head": {**thin, "feat_channels": 32}, "roi_head": heads}
    changes = {
        "backend": "detectron2",
        "model": {"zoo": "Misc/mmdet_mask_rcnn_R_50_FPN_1x", "weights": "none"},
        "data__image_size": {"short": 64, "long": 64},
        "train__epochs": 1,
        "eval__score_threshold": 0.0,
        "native": {"model": {"detector": detector}},
    }
    run = verbs.train(write_spec(odd_shapes, tmp_path / "wrapped.yaml", **changes))
    predictions = read_json(run.predictions)
    assert predictions
    assert all(p["segmentation"]["size"] == [96, 96] for p in predictions)
    assert set(read_json(run.metrics)) >= {"bbox", "segm"}


def test_a_sample_is_what_detectron2s_mapper_makes(masks_run: RunDir) -> None:
    from detectron2.config import LazyConfig, instantiate
    from detectron2.data.datasets import load_coco_json

    from cvtune.backends.detectron2.config import read_config
    from cvtune.backends.detectron2.samples import TrainingSamples
    from cvtune.backends.seeds import mix_seed

    samples = TrainingSamples(masks_run.data("train"), read_config(masks_run), {}, seed=3)
    official = instantiate(LazyConfig.load(str(masks_run.config)).dataloader.train.mapper)
    records = {record["image_id"]: record for record in load_coco_json(str(masks_run.data("train")), "")}
    compared = 0
    for index, image in enumerate(samples.images):
        found = samples[2, index]
        np.random.seed(mix_seed(3, "transform", 2, image.id) % 2**32)
        record = records[image.id]
        for annotation in record["annotations"]:
            annotation["category_id"] -= 1
        if not record["annotations"]:
            continue
        expected = official(record)
        assert torch.equal(found["image"], expected["image"])
        assert found["image"].shape == (3, 64, 64)
        assert len(found["instances"]) == len(expected["instances"])
        if len(found["instances"]):
            assert torch.equal(found["instances"].gt_boxes.tensor, expected["instances"].gt_boxes.tensor)
            assert torch.equal(found["instances"].gt_masks.tensor, expected["instances"].gt_masks.tensor)
            compared += 1
    assert compared >= 4


def test_predictions_are_those_of_detectron2s_own_loader(masks_run: RunDir) -> None:
    from detectron2.config import LazyConfig, instantiate

    from cvtune.backends.detectron2.predict import load_model, predict

    model, _ = load_model(masks_run, masks_run.best)
    mapper = instantiate(LazyConfig.load(str(masks_run.config)).dataloader.test.mapper)
    image = read_json(masks_run.data("val"))["images"][0]
    record = {key: image[key] for key in ("file_name", "height", "width")}
    with torch.no_grad():
        expected = model([mapper(record)])[0]["instances"]
    expected = expected[torch.argsort(expected.scores, descending=True, stable=True)]
    found = list(predict(masks_run, masks_run.best, [PredictImage(image["id"], Path(image["file_name"]))]))
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose([d.score for d in found], expected.scores.numpy(), atol=1e-6)
    assert [d.class_index for d in found] == expected.pred_classes.tolist()


def test_detectron2s_own_tool_trains_from_the_file_that_cvtune_wrote(masks_run: RunDir, tmp_path: Path) -> None:
    package = importlib.util.find_spec("detectron2")
    assert package is not None
    assert package.origin is not None
    tool = Path(package.origin).parent / "tools" / "lazyconfig_train_net.py"
    command = [sys.executable, "-m", "cvtune.native", str(masks_run.path), str(tool)]
    command += ["--config-file", str(masks_run.config), f"train.output_dir={tmp_path / 'own'}", "train.max_iter=2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "does not heed weights, train.ema" in done.stderr
    assert (tmp_path / "own" / "model_final.pth").is_file()
    lines = (tmp_path / "own" / "metrics.json").read_text().splitlines()
    assert any("total_loss" in json.loads(line) for line in lines)


def losses(run: RunDir) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in read_jsonl(run.log) if "loss" in record]


def command(spec: Path, name: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", "cvtune", "train", str(spec), "-s", f"name={name}", *flags]


def test_a_kill_changes_nothing(tmp_path: Path, odd_shapes: Path, write_spec: Callable[..., Path]) -> None:
    """FCOS with AdamW and a cosine, both in the file itself; one image has no objects."""
    spec = write_spec(
        odd_shapes,
        tmp_path / "resume.yaml",
        **FCOS
        | {
            "train__iterations": 12,
            "train__checkpoint": {"every_iterations": 3},
            "train__optimizer": {"name": "adamw", "lr": 0.0005},
            "train__schedule": {"name": "cosine", "min_lr": 1e-6, "warmup_iterations": 3},
            "eval__every_epochs": 2,
        },
    )
    whole, killed = RunDir(tmp_path / "runs/whole"), RunDir(tmp_path / "runs/killed")
    subprocess.run(command(spec, "whole"), cwd=tmp_path, check=True)
    assert [step for step, _ in losses(whole)] == list(range(1, 13))
    assert set(read_json(whole.extras)) == {"weights"}
    rates = [record["lr"] for record in read_jsonl(whole.log) if "lr" in record]
    assert rates[0] < rates[3] == max(rates)
    assert rates[-1] < 0.1 * max(rates)
    process = subprocess.Popen(command(spec, "killed"), cwd=tmp_path, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (losses(killed) and losses(killed)[-1][0] >= 8):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command(spec, "killed", "--resume"), cwd=tmp_path, check=True)
    assert losses(killed) == losses(whole)
    assert read_json(whole.metrics)["bbox"] == read_json(killed.metrics)["bbox"]


def test_two_processes_with_loaders_train_and_score_as_one(
    make_shapes: Callable[..., Any], write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synchronised norms, a lambda's among them, are plain ones on a CPU; transforms reach the loaders' processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_shapes(tmp_path / "shapes", train=4, val=3, size=64, seed=5)
    changes = {"data__batch_size": 4, "data__workers": 1, "train__epochs": 2}
    changes |= {"run": {"device": "cpu", "devices": 2}}
    run = verbs.train(write_spec(tmp_path / "shapes", tmp_path / "ddp.yaml", **JITTER | changes))
    assert [step for step, _ in losses(run)] == [1, 2]
    best = read_json(run.record)["best"]["step"]
    (scored,) = [record["eval"] for record in read_jsonl(run.log) if "eval" in record and record["step"] == best]
    assert read_json(run.metrics)["bbox"]["AP"] == pytest.approx(scored["bbox"]["AP"], abs=1e-6)


def test_the_learning_rate_of_a_trial_is_where_the_loss_falls(
    make_shapes: Callable[..., Any], write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=4, val=1, size=64, seed=4)
    spec = write_spec(tmp_path / "shapes", tmp_path / "lr.yaml", **FCOS | {"train__iterations": 1})
    run = verbs.train(spec, find_lr=True)
    trial = read_json(run.lr_trial)
    assert 1e-5 < read_json(run.plan)["values"]["train.optimizer.lr"]["value"] < 0.3, trial
