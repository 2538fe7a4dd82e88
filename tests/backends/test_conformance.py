"""What every backend must do, each test once for each backend and family in the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvtune
from cvtune import verbs
from cvtune.errors import CvtuneError, DataError
from cvtune.runs import RunDir, read_json, read_jsonl

pytestmark = pytest.mark.train


@dataclass(frozen=True)
class Case:
    """How one family of one backend is overfitted in a test: what differs from the tests' common spec.

    `halves`: four images take a DETR thousands of steps; its loss shall fall to a half.
    """

    backend: str
    family: str
    changes: dict[str, Any] = field(default_factory=dict)
    slow: bool = False
    halves: bool = False


SMALL_FPN = {"fpn": {"channels": 64}, "anchors": {"sizes": [[16], [24], [32], [48], [64]]}}
RCNN = {"native": {"model": {**SMALL_FPN, "kwargs": {"box_batch_size_per_image": 64}}}}
# MMDetection's official heads at a quarter of their width.
MM_ROI = {
    "bbox_roi_extractor": {"out_channels": 64},
    "bbox_head": {"in_channels": 64, "fc_out_channels": 256},
}
MM_MASK = {"mask_roi_extractor": {"out_channels": 64}, "mask_head": {"in_channels": 64, "conv_out_channels": 64}}
MM_RPN = {
    "in_channels": 64,
    "feat_channels": 64,
    "anchor_generator": {"scales": [4]},
}


def mm_rcnn(roi: dict[str, Any]) -> dict[str, Any]:
    """The `native` section of a small two-stage detector of MMDetection."""
    return {"native": {"model": {"neck": {"out_channels": 64}, "rpn_head": MM_RPN, "roi_head": roi}}}


# Its mosaic shows four small images as fragments: they are shown whole. The distances of the two smallest RTMDet are
# linear; from random weights they are below zero for some objects, whose loss is then zero for good.
MM_RTMDET = {
    "model": {"bbox_head": {"exp_on_reg": True}},
    "custom_hooks": [],
    "train_dataloader": {
        "dataset": {
            "pipeline": [
                {"type": "LoadImageFromFile"},
                {"type": "LoadAnnotations", "with_bbox": True},
                {"type": "Resize", "scale": [96, 96], "keep_ratio": True},
                {"type": "PackDetInputs"},
            ]
        }
    },
}
MM_RETINA = {"neck": {"out_channels": 64}, "bbox_head": {"in_channels": 64, "feat_channels": 64, "stacked_convs": 2}}
# Detectron2's official heads at a quarter of their width, with anchors for small objects.
D2_FPN = {
    "FPN": {"OUT_CHANNELS": 64},
    "ANCHOR_GENERATOR": {"SIZES": [[16], [24], [32], [48], [64]]},
}
D2_RCNN = {
    "native": {
        "MODEL": {
            **D2_FPN,
            "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 64},
            "ROI_BOX_HEAD": {"FC_DIM": 256},
            "ROI_MASK_HEAD": {"CONV_DIM": 64},
        }
    }
}
SMALL_MASK_RCNN = {"torchvision": RCNN, "mmdet": mm_rcnn(MM_ROI | MM_MASK), "detectron2": D2_RCNN}
CASES = [
    Case("torchvision", "faster_rcnn", RCNN),
    Case("torchvision", "mask_rcnn", RCNN),
    Case("mmdet", "faster_rcnn", mm_rcnn(MM_ROI)),
    Case("mmdet", "mask_rcnn", mm_rcnn(MM_ROI | MM_MASK)),
    Case(
        "mmdet",
        "rtmdet",
        {
            "model": {"family": "rtmdet", "backbone": "tiny", "weights": "none"},
            "native": MM_RTMDET,
            "train__optimizer": {"name": "adamw", "lr": 0.002},
            "train__iterations": 300,
            "data__image_size": {"square": 96},
        },
        slow=True,
    ),
    Case(
        "mmdet",
        "retinanet",
        {
            "native": {"model": MM_RETINA},
            "train__optimizer": {"name": "adamw", "lr": 0.001},
            "train__iterations": 240,
        },
        slow=True,
    ),
    Case(
        "mmdet",
        "yolox",
        {
            "model": {"family": "yolox", "backbone": "nano", "weights": "none"},
            "train__optimizer": {"name": "adamw", "lr": 0.002},
            "train__iterations": 300,
            "data__image_size": {"square": 96},
        },
        slow=True,
    ),
    Case(
        "mmdet",
        "deformable_detr",
        {
            "model": {"family": "deformable_detr", "backbone": "resnet50", "weights": "none"},
            "native": {"model": {"num_queries": 30, "encoder": {"num_layers": 1}, "decoder": {"num_layers": 2}}},
            "train__optimizer": {"name": "adamw", "lr": 0.0002},
            "train__iterations": 80,
            "eval__model_max_detections": 30,
        },
        slow=True,
        halves=True,
    ),
    Case("detectron2", "faster_rcnn", D2_RCNN),
    Case("detectron2", "mask_rcnn", D2_RCNN),
    Case(
        "detectron2",
        "retinanet",
        {
            "native": {"MODEL": {"FPN": {"OUT_CHANNELS": 64}, "RETINANET": {"NUM_CONVS": 2}}},
            "train__optimizer": {"name": "adamw", "lr": 0.001},
            "train__iterations": 240,
        },
        slow=True,
    ),
    Case(
        "detectron2",
        "fcos",
        {
            "native": {"model": {"head": {"conv_dims": [256, 256]}}},
            "train__optimizer": {"name": "sgd", "lr": 0.01},
            "train__iterations": 300,
        },
        slow=True,
    ),
    Case("torchvision", "retinanet", {"train__optimizer": {"name": "adamw", "lr": 0.001}, "train__iterations": 240}),
    Case(
        "torchvision",
        "fcos",
        # AdamW from random weights kills the ReLU behind FCOS's distances: every box stays empty.
        {"train__optimizer": {"name": "sgd", "lr": 0.01}, "train__iterations": 500, "eval__score_threshold": 0.05},
        slow=True,
    ),
    Case(
        "torchvision",
        "ssd",
        {
            "model": {"family": "ssd", "weights": "none"},
            "train__optimizer": {"name": "adamw", "lr": 0.0003},
            "train__iterations": 240,
            "data__image_size": {"square": 300},
        },
        slow=True,
    ),
    Case(
        "torchvision",
        "ssdlite",
        {
            "model": {"family": "ssdlite", "weights": "none"},
            # Its batch norm keeps statistics slowly (momentum 0.03): they are right after some hundred steps.
            "train__optimizer": {"name": "adamw", "lr": 0.003},
            "train__iterations": 400,
            "data__image_size": {"square": 320},
        },
        slow=True,
    ),
]
PARAMETERS = [
    pytest.param(case, id=f"{case.backend}-{case.family}", marks=[pytest.mark.slow] if case.slow else [])
    for case in CASES
]
BACKENDS = sorted({case.backend for case in CASES})


@pytest.fixture(scope="module")
def odd_runs(
    tmp_path_factory: pytest.TempPathFactory, odd_shapes: Path, write_spec: Callable[..., Path]
) -> Callable[[str], RunDir]:
    """A short Mask R-CNN run of a backend on the odd set; trained once for the module."""
    done: dict[str, RunDir] = {}

    def run(backend: str) -> RunDir:
        if backend not in done:
            folder = tmp_path_factory.mktemp(f"odd-{backend}")
            spec = write_spec(
                odd_shapes,
                folder / "odd.yaml",
                backend=backend,
                model__family="mask_rcnn",
                train__epochs=2,
                train__log_every=1,
                eval__score_threshold=0.0,
                **SMALL_MASK_RCNN[backend],
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                done[backend] = verbs.train(spec)
        return done[backend]

    return run


@pytest.mark.parametrize("case", PARAMETERS)
def test_four_images_are_learnt_by_heart(
    case: Case,
    tmp_path: Path,
    make_shapes: Callable[..., Any],
    write_spec: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=4, val=1, size=96, seed=1)
    changes = {
        "backend": case.backend,
        "model__family": case.family,
        "train__iterations": 110,
        "train__optimizer": {"name": "sgd", "lr": 0.02},
        "train__schedule": {"name": "cosine", "warmup_iterations": 10},
        "train__gradient_clip": 10,
        "train__log_every": 1,
        "data__batch_size": 4,
        "data__augment": [],
        "eval__every_epochs": 0,
        **case.changes,
    }
    spec = write_spec(tmp_path / "shapes", tmp_path / "overfit.yaml", **changes)
    record = json.loads((tmp_path / "shapes/train.json").read_text())
    same = {"annotations": str(tmp_path / "shapes/train.json"), "images": str(tmp_path / "shapes/images/train")}
    run = verbs.train(spec, [f"data.val={json.dumps(same)}"])
    metrics = read_json(run.metrics)
    assert metrics["images"] == len(record["images"]) == 4
    if case.halves:
        losses = [line["loss"] for line in read_jsonl(run.log) if "loss" in line]
        assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
        return
    assert metrics["bbox"]["AP50"] > 0.9
    if case.family == "mask_rcnn":
        assert metrics["segm"]["AP50"] > 0.9


@pytest.mark.parametrize("backend", BACKENDS)
def test_source_ids_come_back_and_score_the_same_against_the_source_file(
    backend: str, odd_runs: Callable[[str], RunDir], odd_shapes: Path
) -> None:
    run = odd_runs(backend)
    predictions = read_json(run.predictions)
    assert predictions
    assert {p["category_id"] for p in predictions} <= {7, 0, 42}
    assert {p["image_id"] for p in predictions} <= {i["id"] for i in read_json(odd_shapes / "val.json")["images"]}
    again = verbs.evaluate(gt=odd_shapes / "val.json", pred=run.predictions)
    own = read_json(run.metrics)
    for kind in ("bbox", "segm"):
        for name in ("AP", "AP50", "AR100"):
            # Each is a mean over the classes in the order of their ids, which is another one: the last bit may differ.
            assert again[kind][name] == pytest.approx(own[kind][name], rel=1e-14), (kind, name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_without_objects_and_crowds_are_trained_on(backend: str, odd_runs: Callable[[str], RunDir]) -> None:
    run = odd_runs(backend)
    steps = [record for record in read_jsonl(run.log) if "loss" in record]
    assert [record["step"] for record in steps] == list(range(1, 9))  # 8 images, 2 epochs, batches of 2
    assert np.isfinite([record["loss"] for record in steps]).all()
    plan = read_json(run.plan)
    assert plan["data"]["train"]["empty_images"] >= 1
    assert plan["data"]["train"]["crowds"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_sample_predictions_are_drawn_at_every_evaluation(backend: str, odd_runs: Callable[[str], RunDir]) -> None:
    run = odd_runs(backend)
    listed = read_json(run.samples / "images.json")
    assert len(listed) == 4
    assert all(row["name"].endswith(".png") for row in listed)
    assert [row["objects"] for row in listed] == sorted((row["objects"] for row in listed), reverse=True)
    evaluations = [record["step"] for record in read_jsonl(run.log) if "eval" in record]
    assert len(evaluations) == 2
    for step in evaluations:
        assert sorted(path.name for path in run.samples_at(step).iterdir()) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert "no sample predictions" not in (run.path / "worker.log").read_text(errors="replace")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_class_lock_travels_and_another_one_is_refused(
    backend: str, odd_runs: Callable[[str], RunDir], tmp_path: Path
) -> None:
    run = odd_runs(backend)
    lock = read_json(run.classes)
    assert lock["source_ids"] == [7, 0, 42]
    assert read_json(run.plan)["classes"] == lock
    assert read_json(run.predictions.with_name("predictions.lock.json"))["classes"] == lock
    copy = RunDir(tmp_path / "copy")
    copy.path.mkdir()
    for file in (run.record, run.config, run.spec):
        (copy.path / file.name).write_bytes(file.read_bytes())
    other = cvtune.classes.ClassMap(tuple(reversed(lock["names"])), tuple(lock["source_ids"]))
    copy.classes.write_text(json.dumps(other.to_json()))
    images = [str(next((Path(read_json(run.data("val"))["images"][0]["file_name"]).parent).glob("*")))]
    with pytest.raises(CvtuneError) as caught:
        verbs.predict(copy.path, images, tmp_path / "p.json", checkpoint=run.best)
    assert lock["hash"] in str(caught.value)
    assert other.hash in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_predict_takes_folders_and_coco_files_and_draws(
    backend: str, odd_runs: Callable[[str], RunDir], odd_shapes: Path, tmp_path: Path
) -> None:
    run = odd_runs(backend)
    out = verbs.predict(run.path, [str(odd_shapes / "images/val")], tmp_path / "p.json", draw=tmp_path / "drawn")
    listed = read_json(tmp_path / "p.images.json")
    assert len(listed) == len(list((tmp_path / "drawn").glob("*.png"))) == 4
    for result in read_json(out):
        assert result["category_id"] in {7, 0, 42}
        assert result["segmentation"]["size"] == [96, 96]
        x, y, w, h = result["bbox"]
        assert -0.01 <= x <= x + w <= 96.02
        assert -0.01 <= y <= y + h <= 96.02
    from_coco = verbs.predict(run.path, [str(odd_shapes / "val.json")], tmp_path / "c.json")
    run_results = {(r["image_id"], r["category_id"], r["score"]) for r in read_json(run.predictions)}
    assert {(r["image_id"], r["category_id"], r["score"]) for r in read_json(from_coco)} == run_results
    above = verbs.predict(run.path, [str(odd_shapes / "val.json")], tmp_path / "t.json", score_threshold=0.3)
    assert all(r["score"] >= 0.3 for r in read_json(above))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_python_api_gives_what_the_command_line_gives(backend: str, odd_runs: Callable[[str], RunDir]) -> None:
    run = odd_runs(backend)
    images = read_json(run.data("val"))["images"]
    found = cvtune.load(run.path).predict([image["file_name"] for image in images])
    by_image: dict[Any, int] = {}
    for result in read_json(run.predictions):
        by_image[result["image_id"]] = by_image.get(result["image_id"], 0) + 1
    source = [entry["source_id"] for entry in read_json(run.images)["val"]]
    assert [len(predictions) for predictions in found] == [by_image.get(image_id, 0) for image_id in source]
    scores = [prediction.score for prediction in found[0]]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(DataError, match=r"missing\.png"):
        cvtune.load(run.path).predict(["missing.png"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_directory_with_results_is_not_overwritten(
    backend: str, odd_runs: Callable[[str], RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = odd_runs(backend)
    monkeypatch.chdir(run.path.parent.parent)
    spec = run.path.parent.parent / "odd.yaml"
    with pytest.raises(CvtuneError, match="holds results"):
        verbs.train(spec)
    with pytest.raises(CvtuneError, match="the spec has changed"):
        verbs.train(spec, ["train.epochs=3"], resume=True)
    with run.locked(), pytest.raises(CvtuneError, match="in use by process"):
        verbs.train(spec, resume=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_native_file_that_was_trained_from_is_the_translated_one(
    backend: str, odd_runs: Callable[[str], RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = odd_runs(backend)
    monkeypatch.chdir(run.path.parent.parent)
    native = verbs.translate(run.path.parent.parent / "odd.yaml")
    assert run.config.name == native.file_name
    assert run.config.read_text() == native.text
    recorded = read_json(run.overrides)
    assert [o["key"] for o in recorded] == [o.key for o in native.overrides]
    assert any(o["kind"] == "spec" for o in recorded)
