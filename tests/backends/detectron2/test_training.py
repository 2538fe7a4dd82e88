"""What a run of Detectron2 does is what Detectron2 itself does: samples, predictions, scores; and what cvtune adds."""

from __future__ import annotations

import itertools
import os
import random
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
from cvtune.backends.base import Detection, PredictImage
from cvtune.backends.detectron2.probe import install_kernels
from cvtune.classes import ClassMap
from cvtune.errors import CvtuneError, RunError
from cvtune.predictions import to_results
from cvtune.runs import RunDir, read_json, read_jsonl

install_kernels()

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

TINY: dict[str, Any] = {
    "backend": "detectron2",
    "data__image_size": {"short": 64, "long": 64},
    "train__log_every": 1,
    "eval__score_threshold": 0.0,
    "native": {
        "MODEL": {
            "FPN": {"OUT_CHANNELS": 32},
            "RPN": {"POST_NMS_TOPK_TRAIN": 50, "POST_NMS_TOPK_TEST": 50},
            "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 32},
            "ROI_BOX_HEAD": {"FC_DIM": 64},
            "ROI_MASK_HEAD": {"CONV_DIM": 32, "NUM_CONV": 1},
        }
    },
}


@pytest.fixture(scope="module")
def masks_run(tmp_path_factory: pytest.TempPathFactory, odd_shapes: Path, write_spec: Callable[..., Path]) -> RunDir:
    """A short Mask R-CNN run on the odd set: crowds, empty images, RLE."""
    folder = tmp_path_factory.mktemp("masks")
    spec = write_spec(
        odd_shapes,
        folder / "masks.yaml",
        **TINY | {"model__family": "mask_rcnn", "train__epochs": 2, "train__optimizer": {"lr": 0.01}},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return verbs.train(spec)


def test_predictions_are_those_of_detectron2s_predictor(masks_run: RunDir) -> None:
    import cv2
    from detectron2.engine import DefaultPredictor

    from cvtune.backends.detectron2.predict import load_model, predict
    from cvtune.data.geometry import rle_to_mask

    model, config = load_model(masks_run, masks_run.best)
    config = config.native.clone()
    config.defrost()
    config.MODEL.WEIGHTS, config.DATASETS.TEST = "", ()
    predictor = DefaultPredictor(config)
    predictor.model.load_state_dict(model.state_dict())
    for image in read_json(masks_run.data("val"))["images"]:
        expected = predictor(cv2.imread(image["file_name"]))["instances"]
        expected = expected[torch.argsort(expected.scores, descending=True, stable=True)]
        found = list(predict(masks_run, masks_run.best, [PredictImage(image["id"], Path(image["file_name"]))]))
        assert len(found) == len(expected) > 0
        xywh = np.array([detection.bbox_xywh for detection in found])
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        np.testing.assert_allclose(xyxy, expected.pred_boxes.tensor.numpy(), atol=1e-3)
        np.testing.assert_allclose([detection.score for detection in found], expected.scores.numpy(), atol=1e-6)
        assert [detection.class_index for detection in found] == expected.pred_classes.tolist()
        for detection, mask in zip(found, expected.pred_masks.numpy(), strict=True):
            assert detection.rle is not None
            assert np.array_equal(rle_to_mask(detection.rle).astype(bool), mask)


def test_a_checkpoint_says_how_its_images_were_fed(masks_run: RunDir) -> None:
    from cvtune.backends.detectron2.config import read_config
    from cvtune.backends.outline import read_outline

    for checkpoint in (masks_run.best, masks_run.last):
        assert read_outline(checkpoint)["input"] == read_config(masks_run).fed


def shifted_truth(image: dict[str, Any], annotations: list[dict[str, Any]], seed: int) -> list[Detection]:
    """Detections that are nearly right: masks moved by a few pixels, boxes around them, one class in four wrong."""
    from cvtune.data.geometry import mask_to_rle, rle_from_json, rle_to_mask, segmentation_to_rle

    draw = np.random.default_rng(seed)
    size_hw = (image["height"], image["width"])
    found = []
    for annotation in annotations:
        given = annotation["segmentation"]
        polygons = tuple(np.asarray(polygon) for polygon in given) if isinstance(given, list) else None
        rle = rle_from_json(given, size_hw) if polygons is None else segmentation_to_rle(polygons, size_hw)
        mask = np.roll(rle_to_mask(rle), draw.integers(-3, 4, size=2), axis=(0, 1))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, x1, y1 = (float(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        wrong = int(draw.random() < 0.25)
        class_index = (annotation["category_id"] - 1 + wrong) % 3
        found.append(
            Detection(image["id"], class_index, float(draw.random()), (x, y, x1 - x, y1 - y), mask_to_rle(mask))
        )
    return found


@pytest.mark.parametrize("fast", [False, True])
def test_scores_are_those_of_detectron2s_evaluator(fast: bool, masks_run: RunDir) -> None:
    from detectron2.data import MetadataCatalog
    from detectron2.evaluation import COCOEvaluator
    from detectron2.structures import Boxes, Instances

    from cvtune.data.geometry import rle_to_mask
    from cvtune.evaluation import Scorer

    truth = read_json(masks_run.data("val"))
    names = masks_run.class_map().names
    name = f"test_scores_{fast}"
    meta = MetadataCatalog.get(name)
    meta.set(json_file=str(masks_run.data("val")), thing_classes=list(names))
    meta.set(thing_dataset_id_to_contiguous_id={index + 1: index for index in range(len(names))})
    results = []
    try:
        evaluator = COCOEvaluator(name, ("bbox", "segm"), False, use_fast_impl=fast)
        evaluator.reset()
        for image in truth["images"]:
            annotations = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
            found = shifted_truth(image, annotations, int(image["id"]))
            canonical = ClassMap(names, tuple(range(1, len(names) + 1)))
            results += to_results(found, canonical, {image["id"]: image["id"]})
            xywh = torch.tensor([d.bbox_xywh for d in found]).reshape(-1, 4)
            instances = Instances((image["height"], image["width"]))
            instances.pred_boxes = Boxes(torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1))
            instances.scores = torch.tensor([d.score for d in found], dtype=torch.float64)
            instances.pred_classes = torch.tensor([d.class_index for d in found], dtype=torch.int64)
            masks = [rle_to_mask(d.rle) for d in found if d.rle]
            instances.pred_masks = torch.tensor(np.array(masks).reshape(-1, image["height"], image["width"])).bool()
            evaluator.process([{"image_id": image["id"]}], [{"instances": instances}])
        scores = evaluator.evaluate()
    finally:
        MetadataCatalog.remove(name)
    own = Scorer(masks_run.data("val"), iou_types=["bbox", "segm"]).score(results)
    assert 0.1 < own["bbox"]["AP"] < 0.9
    for kind, key in itertools.product(("bbox", "segm"), ("AP", "AP50", "AP75", "APs", "APm")):
        value = scores[kind][key]  # in percent; NaN where cvtune says -1
        assert own[kind][key] == (-1.0 if value != value else pytest.approx(value / 100, abs=1e-9)), (kind, key)


def test_without_augmentation_of_ours_a_sample_is_what_detectron2s_mapper_makes(masks_run: RunDir) -> None:
    from detectron2.data import DatasetMapper
    from detectron2.data.datasets import load_coco_json

    from cvtune.backends.detectron2.config import read_config
    from cvtune.backends.detectron2.samples import TrainingSamples
    from cvtune.backends.seeds import mix_seed

    config = read_config(masks_run)
    assert config.native.INPUT.MASK_FORMAT == "bitmask"  # the crowd is RLE
    samples = TrainingSamples(masks_run.data("train"), config, {}, seed=3)
    official = DatasetMapper(config.native, is_train=True)
    records = {record["image_id"]: record for record in load_coco_json(str(masks_run.data("train")), "")}
    assert len(samples) == len(records) == 8
    compared = 0
    for index, image in enumerate(samples.images):
        found = samples[2, index]
        np.random.seed(mix_seed(3, "transform", 2, image.id) % 2**32)
        record = records[image.id]
        for annotation in record["annotations"]:
            annotation["category_id"] -= 1
        expected = official(record)
        assert torch.equal(found["image"], expected["image"])
        assert len(found["instances"]) == len(expected["instances"])
        if len(found["instances"]):
            assert torch.allclose(found["instances"].gt_boxes.tensor, expected["instances"].gt_boxes.tensor, atol=1e-3)
            assert torch.equal(found["instances"].gt_classes, expected["instances"].gt_classes)
            assert torch.equal(found["instances"].gt_masks.tensor, expected["instances"].gt_masks.tensor)
            compared += 1
    assert compared >= 6


def test_nothing_of_the_run_is_left_in_detectron2s_catalogs(masks_run: RunDir) -> None:
    from detectron2.data import DatasetCatalog

    assert not [name for name in DatasetCatalog.list() if name.startswith("cvtune")]


def losses(run: RunDir) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in read_jsonl(run.log) if "loss" in record]


def command(spec: Path, name: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", "cvtune", "train", str(spec), "-s", f"name={name}", *flags]


def test_kills_change_nothing(tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path]) -> None:
    make_shapes(tmp_path / "shapes", train=10, val=2, size=64, seed=2)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "resume.yaml",
        **TINY
        | {
            "model__family": "retinanet",
            "native": {"MODEL": {"FPN": {"OUT_CHANNELS": 32}, "RETINANET": {"NUM_CONVS": 1}}},
            "data__image_size": {"short": [48, 64], "long": 64},
            "data__augment": [{"HorizontalFlip": {"p": 0.5}}, {"RandomBrightnessContrast": {"p": 0.5}}],
            "train__iterations": 20,
            "train__accumulate": 2,
            "train__ema": 0.9,
            "train__gradient_clip": 5.0,
            "train__checkpoint": {"every_iterations": 3},
            "train__optimizer": {"name": "adamw", "lr": 0.0005},
            "train__schedule": {"name": "cosine", "min_lr": 1e-6, "warmup_iterations": 3},
            "eval__every_epochs": 2,
        },
    )
    whole, killed = RunDir(tmp_path / "runs/whole"), RunDir(tmp_path / "runs/killed")
    subprocess.run(command(spec, "whole"), cwd=tmp_path, check=True)
    assert [step for step, _ in losses(whole)] == list(range(1, 21))
    rates = [record["lr"] for record in read_jsonl(whole.log) if "lr" in record]
    assert rates[0] < rates[3] == max(rates)
    assert rates[-1] < 0.1 * max(rates)
    for step in sorted(random.Random(0).sample(range(4, 18), 2)):
        flags = ["--resume"] if killed.log.exists() else []
        process = subprocess.Popen(command(spec, "killed", *flags), cwd=tmp_path, start_new_session=True)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (losses(killed) and losses(killed)[-1][0] >= step):
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command(spec, "killed", "--resume"), cwd=tmp_path, check=True)
    assert losses(killed) == losses(whole)
    assert read_json(whole.metrics)["bbox"] == read_json(killed.metrics)["bbox"]


def test_two_processes_train_and_score_as_one(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_shapes(tmp_path / "shapes", train=10, val=5, size=64, seed=5)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "ddp.yaml",
        **TINY | {"data__batch_size": 4, "train__epochs": 2, "run": {"device": "cpu", "devices": 2}},
    )
    run = verbs.train(spec)
    assert [step for step, _ in losses(run)] == list(range(1, 7))
    assert [record["step"] for record in read_jsonl(run.log) if "eval" in record] == [3, 6]
    assert read_json(run.metrics)["bbox"]["AP"] == pytest.approx(read_json(run.record)["best"]["value"], abs=1e-6)


def test_a_loss_that_is_not_finite_names_step_losses_images_and_checkpoint(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=6, val=2, size=64, seed=4)
    spec = write_spec(tmp_path / "shapes", tmp_path / "run.yaml", **TINY | {"train__epochs": 4})
    with pytest.raises(RunError) as caught:
        verbs.train(spec, ["train.optimizer.lr=1e15", "train.schedule.warmup_iterations=0"])
    for fragment in ("not finite", "images/train", "last good checkpoint", "lower train.optimizer.lr"):
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_architecture_is_refused(
    masks_run: RunDir,
    odd_shapes: Path,
    write_spec: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = {"model": {"family": "faster_rcnn", "backbone": "mobilenet_v2_fpn", "weights": str(masks_run.best)}}
    spec = write_spec(odd_shapes, tmp_path / "other.yaml", **TINY | changes)
    with pytest.raises(CvtuneError) as caught:
        verbs.train(spec, ["train.epochs=1"])
    assert "another architecture" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["cascade_mask_rcnn", "cascade_rcnn"])
def test_a_trial_takes_real_steps(
    family: str, odd_shapes: Path, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    from cvtune.backends.detectron2.trial import step_memory
    from cvtune.spec_file import load_spec
    from cvtune.training import plan_run, translate_plan
    from cvtune.worker import write_native

    spec = load_spec(write_spec(odd_shapes, tmp_path / "trial.yaml", **TINY | {"model__family": family}), [])
    run = RunDir(tmp_path / "run")
    plan = plan_run(spec, run, complete=True)
    write_native(run, translate_plan(spec, run, plan))
    assert step_memory(run) > 2**20


def test_the_learning_rate_of_a_trial_is_where_the_loss_falls(
    make_shapes: Callable[..., Any], write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=4, val=1, size=64, seed=4)
    changes = {
        "model": {"family": "retinanet", "backbone": "resnet18_fpn", "weights": "none"},
        "native": {"MODEL": {"FPN": {"OUT_CHANNELS": 32}, "RETINANET": {"NUM_CONVS": 1}}},
        "train__iterations": 1,
    }
    spec = write_spec(tmp_path / "shapes", tmp_path / "lr.yaml", **TINY | changes)
    run = verbs.train(spec, find_lr=True)
    trial = read_json(run.lr_trial)
    assert 1e-5 < read_json(run.plan)["values"]["train.optimizer.lr"]["value"] < 0.1, trial
