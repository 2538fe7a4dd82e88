"""Steps per second of `cvtune train` against Detectron2's own tools/plain_train_net.py on the same config file.

python benchmarks/train_detectron2.py [--rounds 20] [--steps 20] [--model COCO-Detection/retinanet_R_50_FPN_1x]

Both train from the very config.yaml that cvtune wrote, from random weights, on the same synthetic images, with the same
operators. The tool keeps no times: it runs under a hook of torch that notes each step of the optimizer. A round's
figure is the ratio of its two median step times (the first steps left out); printed are the median ratio over the
rounds and its 95 % interval by bootstrap. Above 1, cvtune is faster.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

from paired import call, compare, differences

TIMED = """
import json, runpy, sys, time
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_post_hook

moments = []
register_optimizer_step_post_hook(lambda *_: moments.append(time.monotonic()))
tool, out, sys.argv[1:] = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
runpy.run_path(tool, run_name="__main__")
out.write_text(json.dumps(moments))
"""


def theirs(folder: Path) -> list[float]:
    """Seconds of each step of Detectron2's own tool, loading included."""
    work = Path(tempfile.mkdtemp(dir=folder))
    spec = importlib.util.find_spec("detectron2")
    assert spec is not None
    assert spec.origin is not None
    tool, timed, times = Path(spec.origin).parent / "tools/plain_train_net.py", work / "timed.py", work / "times.json"
    timed.write_text(TIMED)
    run = folder / "runs/own"
    command = [sys.executable, "-m", "cvtune.native", str(run), str(timed), str(tool), str(times)]
    command += ["--config-file", str(run / "config.yaml"), "OUTPUT_DIR", str(work)]
    call([*command, "DATASETS.TEST", "()", "SOLVER.CHECKPOINT_PERIOD", "1000000"], folder)
    return differences(json.loads(times.read_text()))


if __name__ == "__main__":
    compare(__doc__, "plain_train_net.py", theirs, "detectron2", "COCO-Detection/faster_rcnn_R_50_FPN_1x")
