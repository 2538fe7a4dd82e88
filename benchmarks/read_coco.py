"""Read a large COCO file: seconds, and the peak of memory in a process of its own, beside the standard library.

python benchmarks/read_coco.py [--annotations 1000000] [--points 20] [--peers] [--keep FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

READERS = {
    "cvtune": "from cvtune.data.coco import load_coco as read; import cvtune.data.coco_read",
    "json": "import json; read = lambda path: json.load(open(path))",
    "pycocotools": "from pycocotools.coco import COCO; read = COCO",
}
# VmHWM rather than getrusage's ru_maxrss: after a fork that one starts at the parent's size, this one at the exec.
MEASURE = """
import json, re, sys, time
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
{reader}
before, start = peak(), time.perf_counter()
data = read(sys.argv[1])
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "bytes": peak(), "bytes_before": before}}))
"""


def write_file(path: Path, annotations: int, points: int, seed: int = 0) -> None:
    """Write a COCO file of polygons around circles, ten to an image, coordinates to two decimals as in COCO."""
    generator = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    images = [
        {"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480} for i in range(max(1, annotations // 10))
    ]
    categories = [{"id": 10 * i, "name": f"class {i}"} for i in range(1, 81)]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{{"images": {json.dumps(images)}, "categories": {json.dumps(categories)}, "annotations": [')
        for n in range(annotations):
            centre, radius = generator.uniform((50, 50), (590, 430)), generator.uniform(5, 50)
            xy = np.round(centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1), 2)
            box = np.round([*xy.min(0), *(xy.max(0) - xy.min(0))], 2).tolist()
            record = {
                "segmentation": [xy.reshape(-1).tolist()],
                "area": round(3.14 * radius * radius, 4),
                "iscrowd": 0,
                "image_id": n // 10 % len(images),
                "bbox": box,
                "category_id": 10 * int(generator.integers(1, 81)),
                "id": n + 1,
            }
            file.write((", " if n else "") + json.dumps(record))
        file.write("]}")


def measure(path: Path, reader: str = "cvtune") -> dict[str, Any]:
    """Seconds, peak bytes of the whole process, and its bytes before reading."""
    command = [sys.executable, "-c", MEASURE.format(reader=READERS[reader]), str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--peers", action="store_true", help="also json.load and pycocotools (several GB)")
    parser.add_argument("--keep", type=Path, help="use this file, or make it there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "large.json"
        if not path.exists():
            write_file(path, arguments.annotations, arguments.points)
        print(
            f"{arguments.annotations:,} annotations of {arguments.points} points, {path.stat().st_size / 1e6:,.0f} MB"
        )
        own = measure(path)
        for name in READERS if arguments.peers else ["cvtune"]:
            found = own if name == "cvtune" else measure(path, name)
            print(
                f"{name:12s} {found['seconds']:6.1f} s ({found['seconds'] / own['seconds']:4.2f} x)   "
                f"peak {found['bytes'] / 1e9:5.2f} GB ({found['bytes'] / own['bytes']:4.2f} x)",
                flush=True,
            )


if __name__ == "__main__":
    main()
