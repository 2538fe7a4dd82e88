"""Steps per second of `cvtune train` against MMDetection's own tools/train.py on the same config file.

python benchmarks/train_mmdet.py [--rounds 20] [--steps 20] [--model yolox/yolox_nano_8xb8-300e_coco] [--size 320]

Both train from the very config.py that cvtune wrote, from random weights, on the same synthetic images, with the same
stand-ins for MMCV's operators. A round's figure is the ratio of its two median step times (the first steps left out);
printed are the median ratio over the rounds and its 95 % interval by bootstrap. Above 1, cvtune is faster.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from paired import call, compare

from cvtune.backends.mmdet.zoo import package_root


def theirs(folder: Path) -> list[float]:
    """Seconds of each step of MMDetection's own tool, loading included, as its logger says them."""
    work = Path(tempfile.mkdtemp(dir=folder))
    tool = package_root() / ".mim" / "tools" / "train.py"
    settings = ["default_hooks.logger.interval=1", "log_processor.window_size=1", "default_hooks.checkpoint=None"]
    settings += ["val_cfg=None", "val_dataloader=None", "val_evaluator=None"]
    command = [sys.executable, "-m", "cvtune.kernels", str(tool), str(folder / "runs/own/config.py")]
    call([*command, "--work-dir", str(work), "--cfg-options", *settings], folder)
    scalars = next(work.glob("*/vis_data/scalars.json")).read_text().splitlines()
    return [record["time"] for record in map(json.loads, scalars) if "time" in record]


if __name__ == "__main__":
    compare(__doc__, "tools/train.py", theirs, "mmdet", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco")
