"""How long the report of a large set takes, as a whole process from files to report.html, and how large it is.

Usage: python benchmarks/report.py [--images 5000] [--boxes 36000] [--detections 309000] [--masks]

Prints wall and processor seconds, peak memory and the page's size beside their limits: 20 s and 5 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from evaluate import make_files
from PIL import Image

SECONDS, MEGABYTES = 20, 5
PICTURES = 40


def make_pictures(folder: Path, truth: Path) -> None:
    """Forty photographs' worth of detail, and every image of the set is one of them."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for k in range(PICTURES):
        coarse = Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8))
        coarse.resize((640, 480)).save(folder / f"{k}.jpg", quality=90)
    content = json.loads(truth.read_text())
    for i, image in enumerate(content["images"]):
        image["file_name"] = f"{i % PICTURES}.jpg"
    truth.write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--boxes", type=int, default=36_000)
    parser.add_argument("--detections", type=int, default=309_000)
    parser.add_argument("--masks", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth, found = make_files(folder, asked.images, asked.boxes, asked.detections, asked.masks)
        make_pictures(folder / "images", Path(truth))
        command = [sys.executable, "-m", "cvtune", "report", "--gt", str(truth), "--pred", str(found)]
        command += ["--images", str(folder / "images"), "-o", str(folder / "report")]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (folder / "report" / "report.html").stat().st_size / 1e6
    print(f"{seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of processor time), limit {SECONDS} s")
    print(f"{used.ru_maxrss / 1024:.0f} MiB of memory")
    print(f"{size:.2f} MB, limit {MEGABYTES} MB")


if __name__ == "__main__":
    main()
