from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from cvtune.evaluation import evaluate
from cvtune.evaluation.table import metrics_table


def rendered(metrics: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(metrics_table(metrics))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_numbers_classes_and_notes(small: dict[str, Any], found: list[dict[str, Any]]) -> None:
    small["categories"][1]["name"] = "dog [red]"
    found[0]["bbox"][2] += 4
    text = rendered({**evaluate(small, found, check=True), "split": "val"})
    assert "val: 2 images, 3 annotations, 3 detections" in text
    assert "boxes" in text
    assert "masks" not in text
    assert "dog [red]" in text
    assert "checked with pycocotools" in text
    assert "note: The ground truth has no medium or large objects" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["AP50"] == ["100.0"]
    assert rows["APl"] == ["-"]  # no ground truth
    [dog] = [line for line in text.splitlines() if "dog [red]" in line]
    assert dog.split()[2:5] == ["1", "1", "100.0"]


def test_boxes_and_masks_side_by_side(small: dict[str, Any]) -> None:
    for a in small["annotations"]:
        a["segmentation"] = [[1, 1, 9, 1, 9, 9]]
    text = rendered(evaluate(small, []))
    assert "masks" in text
    assert "boxes AP50" in text
    assert "masks AP50" in text
