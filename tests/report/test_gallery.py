"""Which images are shown, what is said about them, and what is read from disk."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cvtune.report.gallery as gallery_module
from cvtune.report.facts import read_facts
from cvtune.report.gallery import RANDOM, WORST, make_gallery
from cvtune.runs import RunDir, read_json, write_json


def decode(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


@pytest.mark.parametrize("masks", [False, True])
def test_worst_first_and_the_rest_at_random(make_run: Any, masks: bool) -> None:
    gallery = make_gallery(read_facts(make_run(masks=masks)))
    assert gallery.problem == ""
    # Image 3 has two false detections, image 2 a missed object.
    assert [(p.name, p.missed, p.false, p.found, p.objects) for p in gallery.worst] == [
        ("photos/disc 3.png", 0, 2, 2, 2),
        ("photos/disc 2.png", 1, 0, 1, 2),
    ]
    assert [p.name for p in gallery.random] == [f"photos/disc {i}.png" for i in (0, 1, 4, 5)]
    assert "11 objects found, 1 missed, 2 false detections on 6 images" in gallery.sentence
    for pair in (*gallery.worst, *gallery.random):
        assert pair.problem == ""
        assert max(decode(pair.truth_uri).size) <= 640
        assert decode(pair.truth_uri).size == decode(pair.found_uri).size


def test_the_same_pictures_every_time(make_run: Any) -> None:
    facts = read_facts(make_run(images=40))
    assert make_gallery(facts) == make_gallery(facts)
    assert len(make_gallery(facts).random) == RANDOM


def test_only_the_images_that_are_shown_are_read(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(images=60)
    read: list[Path] = []

    def spy(path: Path) -> Any:
        read.append(path)
        return np.zeros((120, 160, 3), np.uint8)

    monkeypatch.setattr(gallery_module, "read_rgb", spy)
    gallery = make_gallery(read_facts(run))
    assert len(read) == len(gallery.worst) + len(gallery.random) <= WORST + RANDOM


def test_large_images_are_reduced_until_they_fit(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    monkeypatch.setattr(gallery_module, "read_rgb", lambda path: noise)
    gallery = make_gallery(read_facts(make_run(images=20)))
    pairs = (*gallery.worst, *gallery.random)
    assert sum(len(p.truth_uri) + len(p.found_uri) for p in pairs) < 4_500_000
    assert max(decode(pairs[0].truth_uri).size) >= 240


def test_no_predictions_file_is_a_sentence(make_run: Any) -> None:
    run = make_run()
    run.predictions.unlink()
    gallery = make_gallery(read_facts(run))
    assert gallery.problem.startswith("There is no predictions.json")
    assert not gallery.worst


def test_empty_predictions_miss_everything(make_run: Any) -> None:
    run = make_run()
    write_json(run.predictions, [])
    gallery = make_gallery(read_facts(run))
    assert gallery.sentence == "There are no predictions: all 12 objects are missed."
    assert [p.missed for p in gallery.worst] == [2] * 6


def test_predictions_that_match_nothing(make_run: Any) -> None:
    run = make_run()
    write_json(run.predictions, [{"image_id": "src-0", "category_id": 7, "bbox": [150, 110, 5, 5], "score": 0.7}])
    gallery = make_gallery(read_facts(run))
    assert gallery.sentence.startswith("No detection matches")
    assert (gallery.worst[0].false, gallery.worst[0].missed) == (1, 2)


def test_strangers_are_counted_and_left_out(make_run: Any) -> None:
    run = make_run()
    results = read_json(run.predictions)
    results += [
        {"image_id": "elsewhere", "category_id": 7, "bbox": [0, 0, 5, 5], "score": 0.99},
        {"image_id": "src-0", "category_id": 99, "bbox": [0, 0, 5, 5], "score": 0.99},
        {"image_id": "src-0", "category_id": 7, "score": 0.99, "segmentation": {"size": [120, 160], "counts": "x"}},
    ]
    write_json(run.predictions, results)
    gallery = make_gallery(read_facts(run))
    assert gallery.notes == (
        "2 predictions of images or classes that this split has not: left out.",
        "1 prediction without a box: left out.",
    )
    assert "11 objects found" in gallery.sentence


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"no image")])
def test_an_image_that_cannot_be_read_is_a_sentence_without_its_folder(make_run: Any, damage: Any) -> None:
    run = make_run()
    path = Path(read_json(run.data("val"))["images"][3]["file_name"])
    damage(path)
    gallery = make_gallery(read_facts(run))
    assert gallery.worst[0].problem.startswith("This image cannot be shown: the image")
    assert str(path.parent) not in gallery.worst[0].problem
    assert gallery.worst[1].problem == ""


def test_a_broken_mask_spoils_its_own_picture_only(make_run: Any) -> None:
    run = make_run(masks=True)
    truth = read_json(run.data("val"))
    for annotation in truth["annotations"]:
        if annotation["image_id"] == 4:
            annotation["segmentation"] = {"size": [1, 1], "counts": "zzz"}
    write_json(run.data("val"), truth)
    gallery = make_gallery(read_facts(run))
    assert gallery.worst[0].problem.startswith("This image cannot be shown")
    assert gallery.worst[1].problem == ""


def test_a_crowd_region_is_neither_missed_nor_makes_false_detections(make_run: Any) -> None:
    run = make_run()
    truth = read_json(run.data("val"))
    crowd = {"id": 99, "image_id": 4, "category_id": 1, "bbox": [0, 75, 60, 45], "area": 2700, "iscrowd": 1}
    write_json(run.data("val"), truth | {"annotations": [*truth["annotations"], crowd]})
    gallery = make_gallery(read_facts(run))
    # The two false detections of image 3 lie in the region.
    assert [p.name for p in gallery.worst] == ["photos/disc 2.png"]


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{"id": "x"}]}', '{"images": [], "annotations": []}'])
def test_broken_ground_truth_is_a_sentence(make_run: Any, content: str) -> None:
    run: RunDir = make_run()
    run.data("val").write_text(content)
    assert make_gallery(read_facts(run)).problem
