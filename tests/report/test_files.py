"""A report of ground truth and predictions that no run of ours made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from cvtune import verbs
from cvtune.errors import DataError, SpecError
from cvtune.report.record import schema


def write_files(folder: Path, stems: bool = False) -> tuple[Path, Path]:
    """Three images below `photos`; one object of each is found, one missed; a cat is taken for a dog."""
    (folder / "photos" / "day").mkdir(parents=True)
    images, annotations, results = [], [], []
    for i in range(3):
        name = f"day/{i}.png"
        Image.new("RGB", (80, 60), (40 * i, 90, 120)).save(folder / "photos" / name)
        images.append({"id": 100 + i, "file_name": name, "width": 80, "height": 60})
        for k, category in enumerate((18, 17)):
            box = [5 + 40 * k, 10, 20, 30]
            annotations.append({"id": len(annotations), "image_id": 100 + i, "category_id": category, "bbox": box})
        found = {"image_id": str(i) if stems else 100 + i, "score": 0.9 - 0.1 * i}
        results.append({**found, "category_id": 18, "bbox": [5, 10, 20, 30]})
        if i == 2:
            results.append({**found, "category_id": 18, "bbox": [45, 10, 20, 30]})
    categories = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
    truth, predictions = folder / "gt.json", folder / "out" / "predictions.json"
    predictions.parent.mkdir()
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    predictions.write_text(json.dumps(results))
    return truth, predictions


@pytest.mark.parametrize("stems", [False, True])
def test_two_files_are_enough(tmp_path: Path, stems: bool) -> None:
    truth, predictions = write_files(tmp_path, stems)
    html, markdown, record = verbs.report((), gt=truth, pred=predictions, images=tmp_path / "photos")
    assert html == predictions.parent / "report.html"
    page = html.read_text()
    assert "<h1>Box AP " in page
    assert "(95 % interval " in page
    assert "on 3 images." in page
    assert "What each kind of mistake costs" in page
    assert page.count("<image ") == 3
    assert "cannot be shown" not in page
    # Nothing is said of a training that nobody knows of.
    for section in ("plan", "curves", "overrides", "data"):
        assert f'id="{section}"' not in page
        assert f'href="#{section}"' not in page
    content: dict[str, Any] = json.loads(record.read_text())
    jsonschema.validate(content, schema())
    run = content["runs"][0]
    assert (run["threshold"]["found"], run["threshold"]["missed"]) == (3, 3)
    assert run["threshold"]["mistakes"]["wrong class"] == 1
    assert run["command"].startswith("cvtune report --gt ")
    assert [row["name"] for row in run["classes"]] == ["cat", "dog"]
    assert markdown.read_text().startswith("## predictions.json")


def test_images_are_found_near_the_ground_truth_or_missed_politely(tmp_path: Path) -> None:
    truth, predictions = write_files(tmp_path)
    page = verbs.report((), tmp_path / "there", gt=truth, pred=predictions)[0]
    assert page == tmp_path / "there" / "report.html"
    assert "This image cannot be shown" in page.read_text()
    (tmp_path / "photos").rename(tmp_path / "images")
    page = verbs.report((), gt=truth, pred=predictions)[0]
    assert "cannot be shown" not in page.read_text()


def test_an_image_without_a_size_is_said(tmp_path: Path) -> None:
    truth, predictions = write_files(tmp_path)
    content = json.loads(truth.read_text())
    for image in content["images"]:
        del image["width"], image["height"]
    truth.write_text(json.dumps(content))
    page = verbs.report((), gt=truth, pred=predictions, images=tmp_path / "photos")[0].read_text()
    assert "its width and height are not in the ground truth" in page


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    truth, predictions = write_files(tmp_path)
    with pytest.raises(SpecError, match=r"or both --gt GT.json and --pred PRED.json"):
        verbs.report((), gt=truth)
    with pytest.raises(SpecError, match="not both"):
        verbs.report([tmp_path], gt=truth, pred=predictions)
    with pytest.raises(SpecError, match="no run was given"):
        verbs.report(())
    with pytest.raises(DataError, match="no such folder of images"):
        verbs.report((), gt=truth, pred=predictions, images=tmp_path / "nowhere")
    predictions.write_text("{")
    with pytest.raises(DataError, match=r"predictions\.json"):
        verbs.report((), gt=truth, pred=predictions)
