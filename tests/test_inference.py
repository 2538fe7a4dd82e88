"""Which images `cvtune predict` takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvtune import inference
from cvtune.classes import ClassMap
from cvtune.errors import DataError
from cvtune.inference import collect_images
from cvtune.predictions import save_predictions
from cvtune.runs import RunDir, read_json, write_json


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.jpg", "a.PNG", "c d.jpeg"):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_folders_files_and_globs_are_joined_without_doubles(photos: Path) -> None:
    found = collect_images([str(photos), str(photos / "b.jpg"), str(photos / "*.jp*g")])
    assert [image.path.name for image in found] == ["a.PNG", "b.jpg", "c d.jpeg"]
    assert [image.id for image in found] == [1, 2, 3]


def test_a_coco_file_gives_its_own_ids(photos: Path, tmp_path: Path) -> None:
    images = [{"id": "x7", "file_name": "b.jpg", "width": 6, "height": 4}]
    path = photos / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}))
    [image] = collect_images([str(path)])
    assert (image.id, image.path.name) == ("x7", "b.jpg")
    with pytest.raises(DataError, match="not both"):
        collect_images([str(path), str(photos / "b.jpg")])


@pytest.mark.parametrize(
    ("argument", "fragment"),
    [
        ("missing.jpg", "no such image"),
        ("*.nothing", "no match as a glob"),
        (".", "no image in this folder"),
        ("*.txt", "*.txt: no image matches; allowed suffixes: .bmp, .gif, .jpeg"),
    ],
)
def test_an_argument_that_matches_nothing_is_named(
    argument: str, fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError) as caught:
        collect_images([argument])
    assert fragment in str(caught.value)


def test_an_image_counts_once_however_it_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    found = collect_images(["b.jpg", str(photos / "b.jpg"), "../photos/b.jpg", "."])
    assert [image.path.name for image in found] == ["b.jpg", "a.PNG", "c d.jpeg"]


def test_two_coco_files_must_not_give_two_images_one_id(photos: Path) -> None:
    def written(name: str, file_name: str) -> str:
        images = [{"id": 1, "file_name": file_name, "width": 6, "height": 4}]
        record = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
        (photos / name).write_text(json.dumps(record))
        return str(photos / name)

    same = [written("one.json", "b.jpg"), written("two.json", "b.jpg")]
    assert [image.path.name for image in collect_images(same)] == ["b.jpg"]
    with pytest.raises(DataError, match=r"image id 1 is both .*b\.jpg and .*c d\.jpeg; predict the COCO files one by"):
        collect_images([same[0], written("three.json", "c d.jpeg")])


def test_drawings_replace_those_of_an_earlier_call(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (6, 4)).save(photos / "b.png")
    run = RunDir(tmp_path / "run")
    class_map = ClassMap(("cat",), (7,))
    write_json(run.record, {"backend": "torchvision"})
    write_json(run.classes, class_map.to_json())
    run.checkpoints.mkdir()
    run.last.write_bytes(b"")

    def worker(backend: str, verb: str, run: RunDir, flag: str, request: str) -> None:
        asked = read_json(Path(request))
        result = {"category_id": 7, "bbox": [0.0, 0.0, 3.0, 2.0]}
        save_predictions(
            [{**result, "image_id": image["id"], "score": 0.3 * image["id"]} for image in asked["images"]],
            Path(asked["output"]),
            class_map,
        )

    monkeypatch.setattr(inference, "run_worker", worker)
    out, drawn = tmp_path / "out.json", tmp_path / "drawn"
    for _ in range(2):
        inference.predict_files(run, [str(photos)], out, drawn, score_threshold=0.5)
        assert sorted(path.name for path in drawn.iterdir()) == ["a.png", "b-3.png", "b.png", "c d.png"]
    assert [result["image_id"] for result in read_json(out)] == [2, 3, 4]
    assert [image["id"] for image in read_json(tmp_path / "out.images.json")] == [1, 2, 3, 4]
    assert not (run.path / "predict.json").exists()
