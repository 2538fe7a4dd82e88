"""A hundred thousand annotations are read within a tenth of what a million may take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

BOUND_BYTES = 1.5e9 / 10


def test_memory_of_a_hundred_thousand_polygons_stays_bounded(
    load_script: Callable[[Path], ModuleType], tmp_path: Path
) -> None:
    benchmark = load_script(Path(__file__).resolve().parents[2] / "benchmarks" / "read_coco.py")
    path = tmp_path / "large.json"
    benchmark.write_file(path, annotations=100_000, points=20)
    measured = benchmark.measure(path)
    # The interpreter and its imports do not grow with the file.
    growth = measured["bytes"] - measured["bytes_before"]
    assert 100_000 * 20 * 2 * 8 < growth < BOUND_BYTES, measured
