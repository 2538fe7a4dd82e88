"""Rerun the real-data results of the README; needs CVTUNE_DATA and CVTUNE_WEIGHTS.

bccd: cvtune and a bare torchvision script, seed by seed, one after the other in one run; the mean paired difference of
AP50 on the validation and test images, and the ratio of times. nuclei: Mask R-CNN, box and mask AP.

python benchmarks/results.py [bccd] [nuclei] [--seeds 3] [--out runs/results.json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"


def timed(command: list[str]) -> float:
    print("$", " ".join(command), flush=True)
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT)
    return time.perf_counter() - start


def cvtune_run(config: str, name: str, seed: int) -> dict[str, Any]:
    """Train a config under another name; scores of the test and of the val split."""
    command = [sys.executable, "-m", "cvtune", "train", f"configs/{config}", "--overwrite"]
    seconds = timed([*command, "-s", f"name={name}", "-s", f"train.seed={seed}"])
    run = RUNS / name
    metrics = json.loads((run / "metrics.json").read_text())
    scores = {metrics["split"]: metrics}
    if metrics["split"] == "test":
        out = run / "metrics-val.json"
        timed([sys.executable, "-m", "cvtune", "eval", str(run), "--split", "val", "-o", str(out)])
        scores["val"] = json.loads(out.read_text())
    return {"seconds": seconds, **scores}


def bccd(seeds: int) -> dict[str, Any]:
    data, weights = Path(os.environ["CVTUNE_DATA"]), Path(os.environ["CVTUNE_WEIGHTS"])
    rows = []
    for seed in range(seeds):
        out = RUNS / f"bare-bccd-{seed}.json"
        out.parent.mkdir(exist_ok=True)
        script = ["benchmarks/bare_torchvision.py", str(data / "bccd"), str(weights / "mobilenet_v2_imagenet.pth")]
        bare_seconds = timed([sys.executable, *script, str(out), "--seed", str(seed)])
        bare = json.loads(out.read_text())
        own = cvtune_run("bccd_faster_rcnn.yaml", f"bccd-seed{seed}", seed)
        row: dict[str, Any] = {"seed": seed, "bare_seconds": bare_seconds, "seconds": own["seconds"]}
        for split in ("val", "test"):
            for key in ("AP", "AP50"):
                row[f"bare_{split}_{key}"] = bare[split][key]
                row[f"{split}_{key}"] = own[split]["bbox"][key]
        rows.append(row)
        print(json.dumps(row), flush=True)
    summary = {
        f"{split}_{key}": {
            "cvtune": statistics.mean(row[f"{split}_{key}"] for row in rows),
            "bare": statistics.mean(row[f"bare_{split}_{key}"] for row in rows),
            "mean_paired_difference": statistics.mean(
                row[f"{split}_{key}"] - row[f"bare_{split}_{key}"] for row in rows
            ),
        }
        for split in ("val", "test")
        for key in ("AP", "AP50")
    }
    ratio = statistics.mean(row["seconds"] / row["bare_seconds"] for row in rows)
    return {"rows": rows, **summary, "time_ratio": ratio}


def nuclei() -> dict[str, Any]:
    source = Path(os.environ["CVTUNE_DATA"]) / "nuclei"
    timed([sys.executable, "datasets/nuclei.py", str(source), "data/nuclei"])
    own = cvtune_run("nuclei_mask_rcnn.yaml", "nuclei-mask-rcnn", 0)
    return {"seconds": own["seconds"]} | {
        f"{kind}_{key}": own["val"][kind][key] for kind in ("bbox", "segm") for key in ("AP", "AP50")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["nuclei", "bccd"], choices=["nuclei", "bccd"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RUNS / "results.json")
    arguments = parser.parse_args()
    results = {what: nuclei() if what == "nuclei" else bccd(arguments.seeds) for what in arguments.what}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
