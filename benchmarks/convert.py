"""Converting large sets as whole processes, beside other converters: VOC to COCO, COCO to YOLO, and how cost grows.

python benchmarks/convert.py [--files 5000] [--annotations 1000000] [--peers] [--peer-python VENV/bin/python]

With --peers the others are installed into a temporary virtual environment, unless --peer-python names one that has
them; what cannot be installed is left out, with the reason. The converters take turns, in the other order every second
round, `--repeat` rounds after one that does not count, so that all find their bytecode compiled, as pip leaves it.
Times are medians, and a ratio is the median of the rounds' ratios, with the least and the greatest. "each synced" is
our own conversion with every small file forced to the disk, as it was once. --annotations 0 leaves COCO to YOLO out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CLASSES = [f"class_{i:02d}" for i in range(20)]
# Name -> (package, VOC to COCO, COCO to YOLO): each reads argv[1] and writes argv[2].
PEERS = {
    "hotcoco": (
        "hotcoco",
        "import sys, json; from hotcoco import COCO; c = COCO.from_voc(sys.argv[1]); c.save(sys.argv[2] + '/a.json')",
        "import sys; from hotcoco import COCO; COCO(sys.argv[1] + '/a.json').to_yolo(sys.argv[2])",
    ),
    "globox": (
        "globox",
        "import sys; from pathlib import Path; from globox import AnnotationSet as A; "
        "A.from_pascal_voc(Path(sys.argv[1]) / 'Annotations').save_coco(Path(sys.argv[2]) / 'a.json', auto_ids=True)",
        "import sys; from pathlib import Path; from globox import AnnotationSet as A; "
        "s = A.from_coco(Path(sys.argv[1]) / 'a.json'); "
        "s.save_yolo_v5(Path(sys.argv[2]), label_to_id={n: i for i, n in enumerate(sorted(s._labels()))})",
    ),
    "supervision": (
        "supervision",
        "import sys, supervision as sv; d = sv.DetectionDataset.from_pascal_voc(sys.argv[1] + '/JPEGImages', "
        "sys.argv[1] + '/Annotations'); d.as_coco(annotations_path=sys.argv[2] + '/a.json')",
        "",
    ),
    "Datumaro": (
        "datumaro",
        "import sys; from datumaro import Dataset as D; "
        "D.import_from(sys.argv[1] + '.datumaro', 'voc_detection').export(sys.argv[2], 'coco_instances')",
        "import sys; from datumaro import Dataset as D; "
        "D.import_from(sys.argv[1] + '.datumaro', 'coco').export(sys.argv[2], 'yolo')",
    ),
}
Measured = tuple[float, float, float]

# VmHWM and processor time of the process, its children's included, when it ends.
PEAK = (
    "import atexit, os, re, sys; atexit.register(lambda: sys.stderr.write('PEAK ' + "
    "re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1] + ' ' + str(sum(os.times()[:4])) + '\\n')); "
)
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
SYNCED = "import cvtune.staging as s; s.SYNCED = 0; "
CONVERT = "from cvtune.cli import main; main(['convert', *sys.argv[1:]])"


def make_voc(folder: Path, files: int, boxes: int, seed: int = 0) -> None:
    """`files` XML files of `boxes` boxes each, as labelImg writes them, with one-pixel stand-ins for images."""
    generator = np.random.default_rng(seed)
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (640, 480)).save(folder / "image.jpg")
    for n in range(files):
        corners = generator.integers(1, (500, 380), (boxes, 2))
        spans = generator.integers(5, 100, (boxes, 2))
        objects = "".join(
            f"<object><name>{CLASSES[int(generator.integers(20))]}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
            "</bndbox></object>"
            for (x, y), (w, h) in zip(corners.tolist(), spans.tolist(), strict=True)
        )
        (folder / "Annotations" / f"{n:06d}.xml").write_text(
            f"<annotation><folder>JPEGImages</folder><filename>{n:06d}.jpg</filename><size><width>640</width>"
            f"<height>480</height><depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"
        )
        (folder / "JPEGImages" / f"{n:06d}.jpg").hardlink_to(folder / "image.jpg")


def lay_out_for_datumaro(folder: Path) -> None:
    """The same set by links, as Datumaro wants to find it."""
    other = folder.with_name(f"{folder.name}.datumaro")
    other.mkdir()
    if (folder / "a.json").exists():
        (other / "annotations").mkdir()
        (other / "annotations" / "instances_train.json").symlink_to(folder / "a.json")
        (other / "images" / "train").mkdir(parents=True)
        return
    for name in ("Annotations", "JPEGImages"):
        (other / name).symlink_to(folder / name)
    (other / "ImageSets" / "Main").mkdir(parents=True)
    stems = sorted(file.stem for file in (folder / "Annotations").iterdir())
    (other / "ImageSets" / "Main" / "train.txt").write_text("\n".join(stems))
    colours = "".join(f"{name}:{i + 1},9,9::\n" for i, name in enumerate(CLASSES))
    (other / "labelmap.txt").write_text(f"background:0,0,0::\n{colours}")


def make_coco(folder: Path, annotations: int, seed: int = 0) -> None:
    """A COCO file of boxes, ten an image."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    count = max(1, annotations // 10)
    images = [{"id": i + 1, "file_name": f"{i:08d}.jpg", "width": 640, "height": 480} for i in range(count)]
    xy = np.round(generator.uniform(0, (500, 380), (annotations, 2)), 2).tolist()
    wh = np.round(generator.uniform(5, 100, (annotations, 2)), 2).tolist()
    records = [
        {"id": n + 1, "image_id": n // 10 % count + 1, "category_id": n % 20 + 1, "bbox": [*xy[n], *wh[n]],
         "area": round(wh[n][0] * wh[n][1], 4), "iscrowd": 0}
        for n in range(annotations)
    ]  # fmt: skip
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    (folder / "a.json").write_text(json.dumps({"images": images, "annotations": records, "categories": categories}))


def timed(python: str, code: str, source: Path, work: Path, *more: str) -> Measured | str:
    """(seconds, processor seconds, peak GB) of a run as a whole process, or the last line of what went wrong."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    if not more:
        out.mkdir()
    arguments = [str(source), "-o", str(out), *more] if more else [str(source), str(out)]
    command = [python, "-c", f"import sys; {PEAK}{code}", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT)
    seconds = time.perf_counter() - start
    peak = re.search(r"PEAK (\d+) ([\d.]+)", done.stderr)
    if done.returncode or peak is None:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("PEAK")]
        return lines[-1] if lines else f"exit status {done.returncode}"
    return seconds, float(peak[2]), int(peak[1]) * 1024 / 1e9


def peer_python(work: Path) -> str | None:
    """A new virtual environment with the other converters, or None where none can be installed."""
    subprocess.run([sys.executable, "-m", "venv", str(work / "peers")], check=True)
    python = str(work / "peers" / "bin" / "python")
    for name, (package, *_) in PEERS.items():
        done = subprocess.run([python, "-m", "pip", "install", "-q", package], capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: not installed: {done.stderr.strip().splitlines()[-1]}")
    return python


def compare(
    title: str, source: Path, work: Path, options: list[str], place: int, python: str | None, repeat: int
) -> None:
    print(f"\n{title}")
    runs: dict[str, Callable[[], Measured | str]] = {
        "cvtune": lambda: timed(sys.executable, CONVERT, source, work, *options)
    }
    if source.name == "small":  # a hundred thousand syncs would take many minutes
        runs["cvtune, each synced"] = lambda: timed(sys.executable, SYNCED + CONVERT, source, work, *options)
    for name, peer in PEERS.items() if python else ():
        if peer[place]:
            runs[name] = lambda code=peer[place]: timed(str(python), code, source, work)  # type: ignore[misc]
    found: dict[str, list[Measured]] = {name: [] for name in runs}
    for number in range(1 + repeat):
        order = list(runs.items())
        for name, run in order if number % 2 else reversed(order):
            measured = run()
            if isinstance(measured, str):
                print(f"  {name:26s} left out: {measured}", flush=True)
                del runs[name], found[name]
            elif number:
                found[name].append(measured)
    for name, rows in found.items():
        wall, cpu, peak = np.median(np.array(rows), axis=0)
        ratios = np.array(rows) / np.array(found["cvtune"])
        typical, least, most = np.median(ratios, axis=0), ratios[:, 1].min(), ratios[:, 1].max()
        times = f"{wall:7.2f} s  {typical[0]:5.2f} x   processor {cpu:6.2f} s  {typical[1]:5.2f} x"
        times += f" ({least:.2f} to {most:.2f})"
        print(f"  {name:26s} {times}   peak {peak:.2f} GB", flush=True)


def growth(title: str, make: Callable[[Path, int], None], sizes: list[int], options: list[str], work: Path) -> None:
    print(f"\n{title}")
    for size in sizes:
        source = work / f"grown-{size}"
        make(source, size)
        found = timed(sys.executable, CONVERT, source, work, *options)
        if isinstance(found, str):
            print(f"  {size:>9,} failed: {found}")
        else:
            wall, cpu, peak = found
            each = f"processor {cpu:6.2f} s, {1e6 * cpu / size:6.1f} us each"
            print(f"  {size:>9,} annotations {wall:7.2f} s   {each}   peak {peak:.2f} GB", flush=True)
        shutil.rmtree(source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--annotations", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=7, help="rounds")
    parser.add_argument("--peers", action="store_true", help="install the other converters and run them too")
    parser.add_argument("--peer-python", help="a Python that has the other converters")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        python = arguments.peer_python or (peer_python(work) if arguments.peers else None)
        make_voc(work / "voc", arguments.files, 15)
        lay_out_for_datumaro(work / "voc")
        title = f"VOC to COCO: {arguments.files:,} files, {15 * arguments.files:,} boxes"
        compare(title, work / "voc", work, ["--to", "coco"], 1, python, arguments.repeat)
        if not arguments.annotations:
            return
        make_coco(work / "coco", arguments.annotations)
        lay_out_for_datumaro(work / "coco")
        title = f"COCO to YOLO: {arguments.annotations:,} boxes, {arguments.annotations // 10:,} label files"
        compare(title, work / "coco", work, ["--to", "yolo"], 2, python, arguments.repeat)
        make_coco(work / "small", arguments.annotations // 10)
        title = f"COCO to YOLO: {arguments.annotations // 10:,} boxes, with and without fsync of every label file"
        compare(title, work / "small", work, ["--to", "yolo"], 2, None, arguments.repeat)
        sizes = [n for n in (10_000, 100_000, 1_000_000) if n <= arguments.annotations]
        growth("COCO to YOLO, by size", make_coco, sizes, ["--to", "yolo"], work)


if __name__ == "__main__":
    main()
