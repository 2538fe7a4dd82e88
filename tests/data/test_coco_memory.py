"""A hundred thousand annotations are read within a tenth of what a million may take."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

BOUND_BYTES = 1.5e9 / 10


def _benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "read_coco.py"
    spec = importlib.util.spec_from_file_location("read_coco_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_memory_of_a_hundred_thousand_polygons_stays_bounded(tmp_path: Path) -> None:
    benchmark = _benchmark()
    path = tmp_path / "large.json"
    benchmark.write_file(path, annotations=100_000, points=20)
    measured = benchmark.measure(path)
    # The interpreter and its imports do not grow with the file.
    growth = measured["bytes"] - measured["bytes_before"]
    assert 100_000 * 20 * 2 * 8 < growth < BOUND_BYTES, measured
