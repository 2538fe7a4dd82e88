"""A dozen kinds of model of the zoo, each translated, built, loaded, trained for two steps, and asked to predict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cvtune.runs import read_jsonl

pytestmark = pytest.mark.train

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "zoo_mmdet.py"
NAMES = [
    "mask-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco",
    "cascade-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco",
    "atss_r18_fpn_8xb8-amp-lsj-200e_coco",
    "yolox_nano_8xb8-300e_coco",
    "yolov3_mobilenetv2_8xb24-320-300e_coco",
    "rtmdet-ins_tiny_8xb32-300e_coco",
    "ssd300_coco",
    "solov2-light_r18_fpn_ms-3x_coco",
    "condinst_r50_fpn_ms-poly-90k_coco_instance",
    "deformable-detr_r50_16xb2-50e_coco",
    "centernet_r18-dcnv2_8xb16-crop512-140e_coco",
    "faster-rcnn_r50_fpn-carafe_1x_coco",
]


def test_a_dozen_models_of_the_zoo_train_and_predict(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = [sys.executable, str(SCRIPT), "--results", str(results), "--table", "-", *NAMES]
    done = subprocess.run(command, capture_output=True, text=True)
    records = read_jsonl(results)
    assert {r["config"].split("/")[1]: r.get("reason") for r in records} == dict.fromkeys(NAMES), done.stdout[-2000:]
    assert done.stdout.strip().splitlines()[-1] == f"works {len(NAMES)} of {len(NAMES)}"
    assert all(record["dropped"] > 0 for record in records), "heads of another number of classes are left out"
