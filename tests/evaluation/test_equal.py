"""Both engines' twelve numbers are those of pycocotools run by hand, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_api
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvtune.evaluation import evaluate

Reference = Callable[..., dict[str, float]]
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
ENGINES = ("hotcoco", "pycocotools")


def twelve(metrics: dict[str, Any], kind: str) -> dict[str, float]:
    return {name: metrics[kind][name] for name in NAMES}


def assert_equal(
    truth: dict[str, Any], results: list[dict[str, Any]], kinds: tuple[str, ...], reference: Reference
) -> None:
    scored = {engine: evaluate(truth, results, engine, kinds) for engine in ENGINES}
    for kind in kinds:
        expected = reference(truth, results, kind)
        for engine in ENGINES:
            assert twelve(scored[engine], kind) == expected, (engine, kind)
        assert scored["hotcoco"][kind]["per_class"] == scored["pycocotools"][kind]["per_class"]


@pytest.mark.real
@pytest.mark.parametrize("seed", range(4))
def test_fruit_nuts_boxes_and_masks(real_data: Path, reference: Reference, perturbed: Any, seed: int) -> None:
    truth = json.loads((real_data / "fruit_nuts/trainval.json").read_text())
    results = perturbed(truth, seed, with_masks=True)
    assert_equal(truth, results, ("bbox", "segm"), reference)
    only_masks = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
    assert_equal(truth, only_masks, ("bbox", "segm"), reference)


@pytest.mark.real
def test_fruit_nuts_from_files(real_data: Path, reference: Reference, perturbed: Any, tmp_path: Path) -> None:
    path = real_data / "fruit_nuts/trainval.json"
    truth = json.loads(path.read_text())
    results = perturbed(truth, 9, with_masks=True)
    (tmp_path / "predictions.json").write_text(json.dumps(results))
    metrics = evaluate(path, tmp_path / "predictions.json", check=True)
    assert metrics["checked_with"] == "pycocotools"
    assert metrics["engine"] == "hotcoco"
    assert (metrics["images"], metrics["annotations"], metrics["detections"]) == (18, 165, len(results))
    assert list(metrics["bbox"]["per_class"]) == ["date", "fig", "hazelnut"]
    for kind in ("bbox", "segm"):
        assert twelve(metrics, kind) == reference(truth, results, kind)
    assert 0.3 < metrics["segm"]["AP"] < 0.95
    assert metrics == evaluate(truth, results, check=True)


@pytest.mark.real
@pytest.mark.parametrize("spread", [0.5, 4.0, 12.0])
def test_bccd_boxes(real_data: Path, reference: Reference, perturbed: Any, bccd: Any, spread: float) -> None:
    truth = bccd(real_data / "bccd", "test")
    assert len(truth["images"]) == 72
    assert_equal(truth, perturbed(truth, 1, with_masks=False, spread=spread), ("bbox",), reference)


def test_more_than_a_hundred_detections_an_image(reference: Reference) -> None:
    rng = np.random.default_rng(5)
    truth: dict[str, Any] = {
        "images": [{"id": i, "width": 200, "height": 200} for i in (1, 2, 3)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {
                "id": i + 1,
                "image_id": i % 2 + 1,
                "category_id": 1 + (i > 100),
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for i, box in enumerate(rng.uniform(1, 90, (260, 4)).round(1).tolist())
        ],
    }
    results = [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "bbox": a["bbox"],
            "score": round(float(rng.random()), 2),
        }
        for a in truth["annotations"] * 2
    ]
    assert_equal(truth, results, ("bbox",), reference)
    [note] = [note for note in evaluate(truth, results)["notes"] if "COCO's 100 best" in note]
    assert note.startswith("120 of 520 predictions")


def test_many_classes_are_added_up_in_the_same_order(reference: Reference) -> None:
    """The mean over hundreds of classes depends, in its last bits, on how the numbers are added."""
    rng = np.random.default_rng(3)
    ids = rng.permutation(2000)[:300].tolist()
    truth: dict[str, Any] = {
        "images": [{"id": i, "width": 200, "height": 200} for i in (30, 7)],
        "categories": [{"id": i, "name": "same name"} for i in ids],
        "annotations": [],
    }
    results = []
    for i in ids[:280]:
        for _ in range(3):
            box = rng.uniform(1, 90, 4).tolist()
            image = int(rng.choice([7, 30]))
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image,
                    "category_id": i,
                    "bbox": box,
                    "area": 1.5,
                    "iscrowd": 0,
                }
            )
            moved = (np.array(box) + rng.normal(0, 3, 4)).tolist()
            results.append({"image_id": image, "category_id": i, "bbox": moved, "score": float(rng.random())})
    assert_equal(truth, results, ("bbox",), reference)
    assert len(evaluate(truth, results)["bbox"]["per_class"]) == 300


# Coarse numbers, so that equal scores, equal IoUs, areas of 0 and on the size limits (32^2, 96^2) do occur.
LENGTH = st.sampled_from([0, 1, 2, 5, 7.5, 10, 31.99, 32, 33.3, 96]) | st.floats(0, 120, allow_subnormal=False)
PLACE = st.sampled_from([0, 0.5, 1, 3, 10, 40]) | st.floats(-5, 100, allow_subnormal=False)
BOX = st.tuples(PLACE, PLACE, LENGTH, LENGTH).map(list)
SCORE = st.sampled_from([0, 0.25, 0.5, 1]) | st.floats(0, 1)


@st.composite
def cases(draw: st.DrawFn, masks: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    height, width = (draw(st.integers(1, 60)), draw(st.integers(1, 60))) if masks else (120, 120)
    image_ids = draw(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True))
    category_ids = draw(st.lists(st.integers(0, 99), min_size=1, max_size=12, unique=True))
    where = st.tuples(st.sampled_from(image_ids), st.sampled_from(category_ids))
    annotations = []
    for i, ((image, category), box) in enumerate(draw(st.lists(st.tuples(where, BOX), max_size=12)), 1):
        area = draw(st.sampled_from([box[2] * box[3], 0, 1024, 9216]) | st.floats(0, 1e5))
        crowd = int(draw(st.integers(0, 5)) == 0)
        annotations.append(
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": crowd}
        )
    results = [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for (image, category), box, score in draw(st.lists(st.tuples(where, BOX, SCORE), max_size=25))
    ]
    for annotation in annotations:
        copies = draw(st.integers(0, 3))
        for _ in range(copies):
            box = [v + draw(st.sampled_from([0, 0, 1, 0.3])) for v in annotation["bbox"]]
            results.append(
                {**{k: annotation[k] for k in ("image_id", "category_id")}, "bbox": box, "score": draw(SCORE)}
            )
    if masks:
        for row in [*annotations, *results]:
            row["segmentation"] = draw(_mask(row["bbox"], height, width))
    truth = {
        "images": [{"id": i, "width": width, "height": height} for i in image_ids],
        "categories": [{"id": i, "name": f"c{i % 3}"} for i in category_ids],
        "annotations": annotations,
    }
    return truth, draw(st.permutations(results))


@st.composite
def _mask(draw: st.DrawFn, box: list[float], height: int, width: int) -> Any:
    """Polygons of one or two parts, RLE compressed and not, full and empty masks, masks that reach over the edge."""
    x, y, w, h = box
    kind = draw(st.sampled_from(["polygon", "parts", "rle", "counts"]))
    if kind in ("polygon", "parts"):
        corners = [x, y, x, y + h, x + w, y + h, x + w, y]
        second = [x + 2, y + 1, x + w + 4, y + h / 2, x, y + h + 3]
        return [corners] if kind == "polygon" else [corners, second]
    pixels = np.zeros((height, width), np.uint8, order="F")
    pixels[max(int(y), 0) : max(int(y + h), 0), max(int(x), 0) : max(int(x + w), 0)] = 1
    if draw(st.booleans()):
        pixels[::3, ::2] ^= 1
    if kind == "rle":
        rle = mask_api.encode(pixels)
        return {"size": [height, width], "counts": rle["counts"].decode()}
    flat = pixels.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": [height, width], "counts": [0, *runs] if flat[0] else runs}


FUZZ = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@FUZZ
@given(case=cases(masks=False))
def test_random_boxes(reference: Reference, case: Any) -> None:
    assert_equal(*case, ("bbox",), reference)


@FUZZ
@given(case=cases(masks=True))
def test_random_masks(reference: Reference, case: Any) -> None:
    assert_equal(*case, ("segm",), reference)


@settings(FUZZ, max_examples=60)
@given(case=cases(masks=False), seed=st.integers(0, 999), shards=st.integers(1, 5))
def test_shards_merged_in_any_order(case: Any, seed: int, shards: int) -> None:
    """Each process predicts whole images; which images, and whose come first in the file, changes no bit."""
    truth, results = case
    rng = np.random.default_rng(seed)
    rank = {image["id"]: int(rng.integers(shards)) for image in truth["images"]}
    parts = [[result for result in results if rank[result["image_id"]] == part] for part in range(shards)]
    merged = [result for part in rng.permutation(shards).tolist() for result in parts[part]]
    assert evaluate(truth, merged, iou_types=["bbox"])["bbox"] == evaluate(truth, results, iou_types=["bbox"])["bbox"]


@settings(FUZZ, max_examples=60)
@given(case=cases(masks=True), seed=st.integers(0, 999))
def test_any_order_where_no_scores_are_equal(case: Any, seed: int) -> None:
    truth, results = case
    rng = np.random.default_rng(seed)
    for result, score in zip(results, rng.permutation(len(results)).tolist(), strict=True):
        result["score"] = score / max(1, len(results))
    mixed = [results[i] for i in rng.permutation(len(results)).tolist()]
    assert evaluate(truth, mixed, iou_types=["segm"])["segm"] == evaluate(truth, results, iou_types=["segm"])["segm"]


SETS = ["bccd", "nuclei", "fruit_nuts"]
PARTS = ["coco1.0", "cvat1.1", "labelme", "labelme3.0", "via", "voc1.1", "yolo1.1", "grapes", "CreateML", "labelImg"]


def converted(source: Path, folder: Path) -> dict[str, Any]:
    """All parts of a data set in one COCO file."""
    from cvtune.data.convert import convert

    convert(source, folder)
    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for path in sorted(folder.rglob("*.json")):
        part = json.loads(path.read_text())
        if not isinstance(part.get("images"), list):  # the receipt
            continue
        first = len(truth["images"])
        ids = {image["id"]: first + k for k, image in enumerate(part["images"], 1)}
        truth["categories"] = max(truth["categories"], part["categories"], key=len)
        truth["images"] += [{**image, "id": ids[image["id"]]} for image in part["images"]]
        truth["annotations"] += [
            {**a, "id": len(truth["annotations"]) + k, "image_id": ids[a["image_id"]]}
            for k, a in enumerate(part["annotations"], 1)
        ]
    assert truth["annotations"]
    return truth


@pytest.mark.real
@pytest.mark.parametrize("name", [*SETS, *(f"one_set_nine_formats/{part}" for part in PARTS)])
def test_every_data_set(real_data: Path, reference: Reference, name: str, tmp_path: Path) -> None:
    """Predictions are objects of the same image, some in the place of others, boxes moved by a little."""
    truth = converted(real_data / name, tmp_path / "coco")
    kept = {image["id"] for image in truth["images"][:60]}
    truth["images"] = [image for image in truth["images"] if image["id"] in kept]
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in kept]
    rng = np.random.default_rng(1)
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in truth["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    with_masks = all(a.get("segmentation") for a in truth["annotations"])
    results = []
    for annotation in truth["annotations"]:
        others = by_image[annotation["image_id"]]
        for donor in (annotation, others[int(rng.integers(len(others)))])[: int(rng.integers(0, 3))]:
            result = {
                "image_id": annotation["image_id"],
                "category_id": donor["category_id"],
                "bbox": [float(v) + float(rng.normal(0, 2)) * (k < 2) for k, v in enumerate(donor["bbox"])],
                "score": round(float(rng.random()), 2),
            }
            if with_masks:
                result["segmentation"] = donor["segmentation"]
            results.append(result)
    assert results
    assert_equal(truth, results, ("bbox", "segm") if with_masks else ("bbox",), reference)
