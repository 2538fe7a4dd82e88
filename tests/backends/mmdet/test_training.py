"""What MMDetection's own tools say of a run of cvtune: its config, its scores, its predictions, its checkpoints."""

from __future__ import annotations

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

from cvtune import verbs
from cvtune.backends.mmdet.zoo import package_root
from cvtune.errors import CvtuneError, RunError
from cvtune.runs import RunDir, read_json, read_jsonl

pytestmark = pytest.mark.train

NATIVE = {
    "model": {
        "neck": {"out_channels": 64},
        "rpn_head": {"in_channels": 64, "feat_channels": 64, "anchor_generator": {"scales": [4]}},
        "roi_head": {
            "bbox_roi_extractor": {"out_channels": 64},
            "bbox_head": {"in_channels": 64, "fc_out_channels": 128},
            "mask_roi_extractor": {"out_channels": 64},
            "mask_head": {"in_channels": 64, "conv_out_channels": 32, "num_convs": 1},
        },
    }
}
FASTER = {
    "model": {**NATIVE["model"], "roi_head": {k: v for k, v in NATIVE["model"]["roi_head"].items() if "mask" not in k}}
}


def losses(run: RunDir) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in read_jsonl(run.log) if "loss" in record]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_shapes: Callable[..., Any], write_spec: Callable[..., Path]
) -> RunDir:
    """A short Mask R-CNN run whose predictions score above nothing."""
    folder = tmp_path_factory.mktemp("mmdet")
    make_shapes(folder / "shapes", train=8, val=4, size=96, seed=3)
    spec = write_spec(
        folder / "shapes",
        folder / "run.yaml",
        backend="mmdet",
        model__family="mask_rcnn",
        data__batch_size=4,
        data__augment=[{"HorizontalFlip": {"p": 0.5}}],
        train__epochs=20,
        train__log_every=1,
        train__optimizer={"name": "adamw", "lr": 0.001},
        train__gradient_clip=10,
        train__ema=0.9,
        eval__every_epochs=10,
        eval__score_threshold=0.01,
        native=NATIVE,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return verbs.train(spec)


def run_tool(tool: str, *arguments: str, cwd: Path) -> str:
    path = package_root() / ".mim" / "tools" / tool
    command = [sys.executable, "-m", "cvtune.kernels", str(path), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_mmdetections_own_test_tool_gives_the_same_scores(trained: RunDir, tmp_path: Path) -> None:
    said = run_tool(
        "test.py", str(trained.config), str(trained.selected), "--work-dir", str(tmp_path / "work"), cwd=tmp_path
    )
    record = next(Path(tmp_path / "work").glob("*/*.json"))
    theirs = json.loads(record.read_text().splitlines()[-1])
    ours = read_json(trained.metrics)
    assert ours["bbox"]["AP"] > 0.05, "the run has learnt too little for its scores to say anything"
    for kind in ("bbox", "segm"):
        for name, key in (("AP", "mAP"), ("AP50", "mAP_50"), ("AP75", "mAP_75")):
            assert round(ours[kind][name], 3) == pytest.approx(theirs[f"coco/{kind}_{key}"], abs=0.0011), (
                kind,
                said[-500:],
            )


def test_predictions_are_those_of_mmdetections_inferencer(trained: RunDir) -> None:
    code = """
import json, sys
from cvtune.kernels.finder import install
install()
from mmdet.apis import inference_detector, init_detector
model = init_detector(sys.argv[1], sys.argv[2], device="cpu")
out = {}
for path in sys.argv[3:]:
    found = inference_detector(model, path).pred_instances
    areas = found.masks.sum(dim=(1, 2)).tolist()
    out[path] = [found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist(), areas]
print("RESULT" + json.dumps(out))
"""
    images = read_json(trained.data("val"))["images"]
    command = [
        sys.executable,
        "-c",
        code,
        str(trained.config),
        str(trained.selected),
        *(i["file_name"] for i in images),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "RESULT" in done.stdout, done.stderr[-2000:]
    theirs = json.loads(done.stdout.split("RESULT")[1])
    predictions = read_json(trained.predictions)
    source = {entry["id"]: entry["source_id"] for entry in read_json(trained.images)["val"]}
    lock = trained.class_map()
    for image in images:
        boxes, scores, labels, areas = theirs[image["file_name"]]
        ours = [p for p in predictions if p["image_id"] == source[image["id"]]]
        order = np.argsort(-np.array(scores), kind="stable")
        assert len(ours) == len(scores) > 0
        assert [p["score"] for p in ours] == pytest.approx([scores[i] for i in order], abs=1e-5)
        assert [p["category_id"] for p in ours] == [lock.source_ids[labels[i]] for i in order]
        xywh = np.array([p["bbox"] for p in ours])
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        np.testing.assert_allclose(xyxy, np.array(boxes)[order], atol=0.01)
        from pycocotools import mask

        assert [int(mask.area(p["segmentation"])) for p in ours] == [areas[i] for i in order]


def test_the_native_file_is_trained_by_mmdetections_own_tool(trained: RunDir, tmp_path: Path) -> None:
    said = run_tool(
        "train.py",
        str(trained.config),
        "--work-dir",
        str(tmp_path / "work"),
        "--cfg-options",
        "train_cfg.max_epochs=1",
        "default_hooks.logger.interval=1",
        cwd=tmp_path,
    )
    assert "loss_mask" in said
    assert "CvtuneAugment" in trained.config.read_text()
    assert list((tmp_path / "work").glob("epoch_1.pth"))
    assert read_json(trained.extras) == {}
    assert read_json(trained.record)["native_complete"] is True


def test_a_run_killed_within_an_epoch_goes_on_with_the_same_losses(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path]
) -> None:
    make_shapes(tmp_path / "shapes", train=10, val=2, size=64, seed=2)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "resume.yaml",
        backend="mmdet",
        data__image_size={"short": [48, 64], "long": 64},
        data__augment=[{"HorizontalFlip": {"p": 0.5}}],
        train__epochs=4,
        train__log_every=1,
        train__ema=0.9,
        train__checkpoint={"every_iterations": 3},
        train__optimizer={"name": "sgd", "lr": 0.005},
        eval__every_epochs=2,
        native=FASTER,
    )

    def command(name: str, *flags: str) -> list[str]:
        return [sys.executable, "-m", "cvtune", "train", str(spec), "-s", f"name={name}", *flags]

    whole, killed = RunDir(tmp_path / "runs/whole"), RunDir(tmp_path / "runs/killed")
    subprocess.run(command("whole"), cwd=tmp_path, check=True)
    process = subprocess.Popen(command("killed"), cwd=tmp_path, start_new_session=True)
    while not losses(killed) or losses(killed)[-1][0] < 8:  # the checkpoint is that of step 6, within an epoch of 5
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command("killed", "--resume"), cwd=tmp_path, check=True)
    assert losses(killed) == losses(whole)
    evaluations = [[r["eval"] for r in read_jsonl(run.log) if "eval" in r] for run in (whole, killed)]
    assert evaluations[0] == evaluations[1]
    assert read_json(killed.record)["state"] == "done"


def test_two_processes_train_and_score_as_one(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_shapes(tmp_path / "shapes", train=10, val=5, size=64, seed=5)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "ddp.yaml",
        backend="mmdet",
        data__image_size={"short": 64, "long": 64},
        data__batch_size=4,
        train__epochs=2,
        train__log_every=1,
        eval__every_epochs=1,
        eval__score_threshold=0.0,
        run={"device": "cpu", "devices": 2},
        native=FASTER,
    )
    run = verbs.train(spec)
    assert [step for step, _ in losses(run)] == list(range(1, 7))  # ceil(10 / 4) steps an epoch, two epochs
    metrics = read_json(run.metrics)
    assert metrics["images"] == 5
    assert metrics["bbox"]["AP"] == pytest.approx(read_json(run.record)["best"]["value"], abs=1e-6)


@pytest.fixture
def quick(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A spec of three steps."""
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=6, val=2, size=64, seed=4)
    size = {"short": 64, "long": 64}
    changes = {"data__image_size": size, "train__epochs": 1, "train__log_every": 1, "native": FASTER}
    return write_spec(tmp_path / "shapes", tmp_path / "run.yaml", backend="mmdet", **changes)


def test_a_loss_that_is_not_finite_names_step_losses_and_images(quick: Path) -> None:
    with pytest.raises(RunError) as caught:
        verbs.train(quick, ["train.optimizer.lr=1e15", "train.schedule.warmup_iterations=0", "train.epochs=4"])
    for fragment in ("a loss is not finite", "loss_", "images/train", "last good checkpoint", "lower train.optimizer"):
        assert fragment in str(caught.value)


def test_a_broken_image_is_named_or_skipped(quick: Path, tmp_path: Path) -> None:
    name = read_json(tmp_path / "shapes/train.json")["images"][2]["file_name"]
    path = tmp_path / "shapes/images/train" / name
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CvtuneError, match=name):
        verbs.train(quick)
    run = verbs.train(quick, ["data.skip_bad_images=true"])
    assert len(losses(run)) == 3
    assert name in (run.path / "worker.log").read_text() + run.receipt.read_text()


def test_weights_of_another_architecture_are_refused(quick: Path, trained: RunDir) -> None:
    with pytest.raises(CvtuneError, match="another architecture"):
        verbs.train(quick, [f"model.weights={trained.selected}", "model.backbone=resnet50_fpn"])


def test_weights_of_other_classes_load_but_for_the_last_layers(quick: Path, trained: RunDir) -> None:
    small = ["data.classes=[circle, square]", f"model.weights={trained.selected}"]
    run = verbs.train(quick, small)
    said = (run.path / "weights.txt").read_text()
    assert "other classes" in said
    assert "roi_head.bbox_head.fc_cls.weight" in said
    assert "backbone" not in said.split("not used")[1].split("start at random")[0]
