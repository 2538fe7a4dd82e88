"""How long scoring takes: cvtune's function and command, hotcoco alone, pycocotools; each in a process of its own.

Usage: python benchmarks/evaluate.py [--images 5000] [--boxes 36000] [--detections 309000] [--repeats 3] [--masks]
                                     [--no-reference] [--tenfold]

Prints seconds of whole processes, the interpreter's start and end included (best of the repeats), seconds of CPU, which
a busy machine changes less, peak memory, and the median ratio of the rounds, in which all take turns. Modules are
compiled before, as pip does it. pycocotools runs once; without it (--no-reference) hotcoco's numbers are compared. The
twelve numbers of all are compared to the last bit; they differ where hotcoco's own summary adds in another order.
--tenfold measures `cvtune eval` alone, on the set and on one with ten times as many images, boxes, detections.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
PROGRAMS = {
    "cvtune": """
from cvtune.evaluation import evaluate
metrics = evaluate(gt, pred, iou_types=[kind])
stats = [metrics[kind][name] for name in NAMES]
""",
    "cvtune eval": """
import contextlib, io
from cvtune.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["eval", "--gt", gt, "--pred", pred, "-o", gt + ".metrics"])
metrics = json.load(open(gt + ".metrics"))
stats = [metrics[kind][name] for name in NAMES]
""",
    "hotcoco": """
from hotcoco import COCO, COCOeval
truth = COCO(gt)
run = COCOeval(truth, truth.load_res(pred), kind)
run.evaluate(); run.accumulate(); run.summary_lines()
stats = [run.get_results()[name] for name in NAMES]
""",
    "pycocotools": """
import contextlib, io
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(gt)
    run = COCOeval(truth, truth.loadRes(pred), kind)
    run.evaluate(); run.accumulate(); run.summarize()
stats = [float(value) for value in run.stats]
""",
}
TIMED = """
import json, resource, sys
gt, pred, kind = sys.argv[1:]
NAMES = {names!r}
{program}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"peak_mib": peak, "stats": stats}}))
"""


def make_files(folder: Path, images: int, boxes: int, detections: int, masks: bool) -> tuple[Path, Path]:
    """COCO-like sets: 80 classes, boxes of all sizes, detections scattered around the boxes."""
    rng = np.random.default_rng(0)
    image, category = rng.integers(1, images + 1, boxes), rng.integers(1, 81, boxes)
    size = np.exp(rng.uniform(np.log(8), np.log(240), (boxes, 2)))
    box = np.round(np.hstack([rng.uniform(0, 1, (boxes, 2)) * (np.array([640, 480]) - size), size]), 2)
    near = rng.integers(0, boxes, detections)
    found = np.round(box[near] + rng.normal(0, 0.1, (detections, 4)) * np.tile(size[near], 2), 2)
    found[:, 2:] = np.maximum(found[:, 2:], 1)
    score = np.round(rng.uniform(0, 1, detections), 5)

    def mask(values: Any) -> dict[str, Any]:
        if not masks:
            return {}
        import pycocotools.mask as mask_api

        x, y, w, h = (float(value) for value in values)
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ellipse = np.stack([x + w / 2 + np.cos(angles) * w / 2, y + h / 2 + np.sin(angles) * h / 2], 1).ravel()
        rle = mask_api.frPyObjects([ellipse.tolist()], 480, 640)[0]
        return {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}

    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, 81)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": int(image[i]),
                "category_id": int(category[i]),
                "bbox": box[i].tolist(),
                "area": float(box[i, 2] * box[i, 3]),
                "iscrowd": 0,
                **mask(box[i]),
            }
            for i in range(boxes)
        ],
    }
    results = [
        {
            "image_id": int(image[k]),
            "category_id": int(category[k]),
            "bbox": found[i].tolist(),
            "score": float(score[i]),
            **mask(found[i]),
        }
        for i, k in enumerate(near)
    ]
    gt, pred = folder / "gt.json", folder / "pred.json"
    gt.write_text(json.dumps(truth))
    pred.write_text(json.dumps(results))
    return gt, pred


def timed(name: str, gt: Path, pred: Path, kind: str) -> dict[str, Any]:
    program = TIMED.format(names=NAMES, program=PROGRAMS[name])
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(gt.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, str(gt), str(pred), kind],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout), "seconds": seconds, "cpu_seconds": cpu_seconds}


def tenfold(images: int, boxes: int, detections: int, masks: bool, repeats: int) -> None:
    """Print the processor time of ten times the work as a ratio."""
    kind = "segm" if masks else "bbox"
    with tempfile.TemporaryDirectory() as name:
        files = {}
        for times in (1, 10):
            folder = Path(name) / str(times)
            folder.mkdir()
            files[times] = make_files(folder, times * images, times * boxes, times * detections, masks)
        timed("cvtune eval", *files[1], kind)  # compiles
        rounds = [{n: timed("cvtune eval", *pair, kind) for n, pair in files.items()} for _ in range(repeats)]
    seconds = {n: min(r[n]["cpu_seconds"] for r in rounds) for n in files}
    print(f"{images} images, {boxes} objects, {detections} detections, {kind}")
    print(f"once: {seconds[1]:.2f} CPU s; ten times as many: {seconds[10]:.2f} CPU s")
    print(f"ratio {seconds[10] / seconds[1]:.2f}, limit 11")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--boxes", type=int, default=36_000)
    parser.add_argument("--detections", type=int, default=309_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--masks", action="store_true", help="score masks (RLE ellipses) instead of boxes")
    parser.add_argument("--no-reference", action="store_true", help="leave pycocotools out, which takes half a minute")
    parser.add_argument("--tenfold", action="store_true", help="measure ten times the work instead")
    arguments = parser.parse_args()
    if arguments.tenfold:
        sizes = arguments.images, arguments.boxes, arguments.detections
        tenfold(*sizes, arguments.masks, arguments.repeats)
        return
    kind = "segm" if arguments.masks else "bbox"
    names = ("cvtune", "cvtune eval", "hotcoco")
    with tempfile.TemporaryDirectory() as folder:
        gt, pred = make_files(Path(folder), arguments.images, arguments.boxes, arguments.detections, arguments.masks)
        for name in names:
            timed(name, gt, pred, kind)  # compiles
        # In turn, so that a busy machine is unfair to all.
        rounds = [{name: timed(name, gt, pred, kind) for name in names} for _ in range(arguments.repeats)]
        reference = rounds[0]["hotcoco"] if arguments.no_reference else timed("pycocotools", gt, pred, kind)
    print(f"{arguments.images} images, {arguments.boxes} objects, {arguments.detections} detections, {kind}")
    titles = ("seconds", "CPU s", "peak MiB")
    print(f"{'':12} " + " ".join(f"{t:>9}" for t in titles) + f" {'to hotcoco':>11} {'CPU to hotcoco':>22}  equal")
    for name in names:
        own = [r[name] for r in rounds]
        differing = [n for n, a, b in zip(NAMES, own[0]["stats"], reference["stats"], strict=True) if a != b]
        least = [min(record[key] for record in own) for key in ("seconds", "cpu_seconds", "peak_mib")]
        wall, cpu = (sorted(r[name][key] / r["hotcoco"][key] for r in rounds) for key in ("seconds", "cpu_seconds"))
        spread = f"{statistics.median(cpu):.2f} ({cpu[0]:.2f} to {cpu[-1]:.2f})"
        print(
            f"{name:12} {least[0]:9.3f} {least[1]:9.3f} {least[2]:9.0f} {statistics.median(wall):11.2f} {spread:>22}  "
            f"{'yes' if not differing else 'no: ' + ', '.join(differing)}"
        )
    if not arguments.no_reference:
        print(f"pycocotools  {reference['seconds']:9.3f} {reference['cpu_seconds']:9.3f} {reference['peak_mib']:9.0f}")


if __name__ == "__main__":
    main()
