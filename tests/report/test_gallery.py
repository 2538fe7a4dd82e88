"""Which images are shown, what is said about them, what is drawn, and what is read from disk."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cvtune.report.cards as cards_module
from cvtune.errors import DataError
from cvtune.report.choose import BEST, RANDOM, WORST, Seen, choose_images
from cvtune.report.detections import read_picture_data
from cvtune.report.facts import read_facts
from cvtune.report.gallery import Gallery, make_gallery
from cvtune.report.mistakes import MISTAKES
from cvtune.report.overlay import mask_path, view_size
from cvtune.runs import RunDir, read_json, write_json


def gallery_of(run: RunDir) -> Gallery:
    try:
        return make_gallery(read_picture_data(read_facts(run)))
    except DataError as error:
        return make_gallery(error)


def decode(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def groups(drawing: str, kind: str) -> list[str]:
    """The CSS classes of each object (o) or detection (d)."""
    return re.findall(rf'<g class="({kind}[^"]*)"', drawing)


@pytest.mark.parametrize("masks", [False, True])
def test_worst_first_then_the_best(make_run: Any, masks: bool) -> None:
    gallery = gallery_of(make_run(masks=masks))
    assert gallery.problem == ""
    # Image 3 has two false detections, image 2 a missed object.
    assert [(c.name, c.missed, c.false, c.right, c.objects, c.reason) for c in gallery.cards] == [
        ("photos/disc 3.png", 0, 2, 2, 2, "worst"),
        ("photos/disc 2.png", 1, 0, 1, 2, "worst"),
        ("photos/disc 0.png", 0, 0, 2, 2, "best"),
        ("photos/disc 1.png", 0, 0, 2, 2, "best"),
        ("photos/disc 4.png", 0, 0, 2, 2, "best"),
        ("photos/disc 5.png", 0, 0, 2, 2, "random"),
    ]
    assert gallery.cards[0].mistakes == (("background", 2),)
    assert "11 objects found, 1 missed, 2 false detections on 6 images" in gallery.sentence
    assert gallery.masks is masks
    for card in gallery.cards:
        assert card.problem == ""
        assert decode(card.picture).size == (160, 120)
        assert card.view_wh == (640, 480)
        assert ("<path" in card.truth) is masks
    assert groups(gallery.cards[0].found, "d") == ["d right", "d right", "d false", "d false"]
    assert groups(gallery.cards[1].truth, "o") == ["o missed", "o"]
    # The image is drawn four times as large as it is: the false box begins at 80 of 120 pixels.
    assert '<rect x="0" y="320" width="120" height="120"/>' in gallery.cards[0].found


def test_the_page_can_count_at_any_threshold(make_run: Any) -> None:
    run = make_run()
    results = read_json(run.predictions)
    results.append({"image_id": "src-0", "category_id": 7, "bbox": [100, 90, 20, 20], "score": 0.05})
    write_json(run.predictions, results)
    gallery = gallery_of(run)
    card = next(c for c in gallery.cards if c.name.endswith("0.png"))
    # Drawn, though not shown at the threshold that the page starts with.
    assert groups(card.found, "d") == ["d false off", "d right", "d right"]
    assert card.false == 0
    bins = [bin for record in gallery.page["classes"] for bin in record["bins"]]
    assert sum(sum(codes) for _, *codes in bins) == len(results)
    assert min(step for step, *_ in bins) == 5
    assert json.loads(json.dumps(gallery.page))["step"] == gallery.step


def test_the_same_pictures_every_time(make_run: Any) -> None:
    run = make_run(images=40)
    assert gallery_of(run).cards == gallery_of(run).cards
    assert [c.reason for c in gallery_of(run).cards].count("random") == RANDOM


def test_only_the_images_that_are_shown_are_read(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(images=60)
    read: list[Path] = []

    def spy(path: Path) -> Any:
        read.append(path)
        return np.zeros((120, 160, 3), np.uint8)

    monkeypatch.setattr(cards_module, "read_rgb", spy)
    gallery = gallery_of(run)
    assert len(read) == len(gallery.cards) < 30


def test_the_number_of_images_is_bounded_and_every_mistake_is_there() -> None:
    images = 5000
    rng = np.random.default_rng(0)
    mistakes = {
        code: rng.integers(0, 4 if code != 3 else 2, images) * (rng.uniform(0, 1, images) < 0.3) for code in MISTAKES
    }
    seen = Seen(np.full(images, 9), np.full(images, 7), rng.integers(0, 3, images), mistakes)
    chosen = choose_images(seen)
    assert len({c.image for c in chosen}) == len(chosen) <= WORST + 2 * (len(MISTAKES) + 1) + BEST + RANDOM
    for code, numbers in mistakes.items():
        assert any(numbers[c.image] for c in chosen), code
    assert [c.reason for c in chosen].count("best") == BEST


def test_large_images_are_reduced_until_they_fit(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    monkeypatch.setattr(cards_module, "read_rgb", lambda path: noise)
    gallery = gallery_of(make_run(images=20))
    assert sum(len(c.picture) for c in gallery.cards) < 3_200_000
    assert max(decode(gallery.cards[0].picture).size) >= 240


def test_many_detections_are_cut_and_it_is_said(make_run: Any) -> None:
    run = make_run(images=2)
    results = read_json(run.predictions)
    results += [
        {"image_id": "src-1", "category_id": 7, "bbox": [k % 100, k % 60, 9, 9], "score": 0.3 + k / 1000}
        for k in range(400)
    ]
    write_json(run.predictions, results)
    gallery = gallery_of(run)
    assert "the 150 detections with the highest scores are drawn" in gallery.notes[0]
    assert max(len(groups(c.found, "d")) for c in gallery.cards) == 150
    # What is counted on the whole split is not cut.
    assert gallery.page["classes"][0]["bins"][0][0] == 30


def test_no_predictions_file_is_a_sentence(make_run: Any) -> None:
    run = make_run()
    run.predictions.unlink()
    gallery = gallery_of(run)
    assert gallery.problem.startswith("There is no predictions.json")
    assert not gallery.cards


def test_empty_predictions_miss_everything(make_run: Any) -> None:
    run = make_run()
    write_json(run.predictions, [])
    gallery = gallery_of(run)
    assert gallery.sentence == "There are no predictions: all 12 objects are missed."
    assert [c.missed for c in gallery.cards] == [2] * 6


def test_predictions_that_match_nothing(make_run: Any) -> None:
    run = make_run()
    write_json(run.predictions, [{"image_id": "src-0", "category_id": 7, "bbox": [150, 110, 5, 5], "score": 0.7}])
    gallery = gallery_of(run)
    assert gallery.sentence.startswith("No detection matches")
    assert (gallery.cards[0].false, gallery.cards[0].missed) == (1, 2)


def test_strangers_are_counted_and_left_out(make_run: Any) -> None:
    run = make_run()
    results = read_json(run.predictions)
    results += [
        {"image_id": "elsewhere", "category_id": 7, "bbox": [0, 0, 5, 5], "score": 0.99},
        {"image_id": "src-0", "category_id": 99, "bbox": [0, 0, 5, 5], "score": 0.99},
        {"image_id": "src-0", "category_id": 7, "score": 0.99, "segmentation": {"size": [120, 160], "counts": "x"}},
    ]
    write_json(run.predictions, results)
    gallery = gallery_of(run)
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
    gallery = gallery_of(run)
    assert gallery.cards[0].problem.startswith("This image cannot be shown: the image")
    assert str(path.parent) not in gallery.cards[0].problem
    assert gallery.cards[1].problem == ""


def test_a_broken_mask_spoils_its_own_picture_only(make_run: Any) -> None:
    run = make_run(masks=True)
    truth = read_json(run.data("val"))
    for annotation in truth["annotations"]:
        if annotation["image_id"] == 4:
            annotation["segmentation"] = {"size": [1, 1], "counts": "zzz"}
    write_json(run.data("val"), truth)
    gallery = gallery_of(run)
    assert gallery.cards[0].problem.startswith("This image cannot be shown")
    assert gallery.cards[1].problem == ""


def test_a_crowd_region_is_neither_missed_nor_makes_false_detections(make_run: Any) -> None:
    run = make_run()
    truth = read_json(run.data("val"))
    crowd = {"id": 99, "image_id": 4, "category_id": 1, "bbox": [0, 75, 60, 45], "area": 2700, "iscrowd": 1}
    write_json(run.data("val"), truth | {"annotations": [*truth["annotations"], crowd]})
    gallery = gallery_of(run)
    # The two false detections of image 3 lie in the region.
    assert [c.name for c in gallery.cards if c.reason == "worst"] == ["photos/disc 2.png"]
    drawn = next(c for c in gallery.cards if c.name.endswith("3.png"))
    assert groups(drawn.truth, "o crowd") == ["o crowd"]
    assert groups(drawn.found, "d ignored") == ["d ignored", "d ignored"]


def test_a_detectors_ground_truth_is_drawn_as_boxes(make_run: Any) -> None:
    run = make_run(masks=True)
    results = [{k: v for k, v in r.items() if k != "segmentation"} for r in read_json(run.predictions)]
    write_json(run.predictions, results)
    gallery = gallery_of(run)
    assert not gallery.masks
    assert "<path" not in "".join(card.truth for card in gallery.cards)


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{"id": []}]}', '{"images": [], "annotations": []}'])
def test_broken_ground_truth_is_a_sentence(make_run: Any, content: str) -> None:
    run: RunDir = make_run()
    run.data("val").write_text(content)
    assert gallery_of(run).problem


def test_masks_with_holes_are_outlines() -> None:
    import pycocotools.mask as mask_api

    mask = np.zeros((50, 100), np.uint8)
    mask[10:40, 20:80] = 1
    mask[20:30, 40:60] = 0
    rle = mask_api.encode(np.asfortranarray(mask))
    raw = json.dumps({"size": rle["size"], "counts": rle["counts"].decode()}).encode()
    path = mask_path(raw, (100, 50), view_size((100, 50)))
    assert path.count("M") == path.count("Z") == 2
    assert "128 64" in path
    assert mask_path(b"", (100, 50), (640, 320)) == ""
    assert mask_path(b"[[0,0,100,0,100,50]]", (100, 50), (640, 320)) == "M0 0L640 0L640 320Z"
