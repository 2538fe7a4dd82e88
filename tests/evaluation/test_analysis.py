"""analysis.json against slow implementations of the definitions, hotcoco and the engine; its form is the document's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.errors import DataError, SpecError
from cvtune.evaluation import evaluate
from cvtune.evaluation.analyse import analyse, analyse_pair, read_pair
from cvtune.evaluation.analysis import Analysis, KindAnalysis
from cvtune.evaluation.curves import Ranked, best_threshold, calibration, precision_recall, threshold_curve
from cvtune.evaluation.detections import read_detections
from cvtune.evaluation.engines import hotcoco_runs
from cvtune.evaluation.ground_truth import read_ground_truth
from cvtune.evaluation.slices import make_slices

Json = dict[str, Any]


def scene(seed: int, images: int = 12) -> tuple[Json, list[Json]]:
    """Objects found, moved, taken for another class, found twice and missed; detections of nothing."""
    rng = np.random.default_rng(seed)
    truth: Json = {
        "images": [
            {
                "id": 10 * i,
                "file_name": f"{'day' if i % 3 else 'night'}/{i}.jpg",
                "width": 400,
                "height": 300,
                "camera": i % 2,
            }
            for i in range(1, images + 1)
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in (1, 2, 3)],
        "annotations": [],
    }
    results: list[Json] = []
    for image in truth["images"]:
        for _ in range(int(rng.integers(1, 7))):
            box = [*rng.uniform(0, 280, 2).round(1).tolist(), *rng.uniform(15, 110, 2).round(1).tolist()]
            category = int(rng.integers(1, 4))
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, "image_id": image["id"], "category_id": category, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
            for spread in (0.02, 0.02, 0.25)[: int(rng.integers(0, 4))]:
                moved = [v + float(rng.normal(0, spread)) * box[2 + k % 2] for k, v in enumerate(box)]
                other = category if rng.random() < 0.75 else int(rng.integers(1, 4))
                results.append(
                    {"image_id": image["id"], "category_id": other, "bbox": [*moved[:2], *map(abs, moved[2:])],
                     "score": float(rng.random())}
                )  # fmt: skip
        for _ in range(2):
            box = [*rng.uniform(0, 280, 2).tolist(), *rng.uniform(15, 110, 2).tolist()]
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": int(rng.integers(1, 4)),
                    "bbox": box,
                    "score": float(rng.random()),
                }
            )
    return truth, results


def analysed(truth: Json, results: list[Json], **arguments: Any) -> Analysis:
    ground_truth = read_ground_truth(truth)
    return analyse(ground_truth, read_detections(results, ground_truth, False), **{"samples": 50, **arguments})


def boxes_of(truth: Json, results: list[Json], **arguments: Any) -> KindAnalysis:
    kind = analysed(truth, results, **arguments).bbox
    assert kind is not None
    return kind


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return float(shared / (a[2] * a[3] + b[2] * b[3] - shared))


class SlowTide:
    """TIDE from its paper: errors are told apart one detection at a time, and each kind is mended and scored again."""

    def __init__(self, truth: Json, results: list[Json]) -> None:
        self.objects, self.found = truth["annotations"], sorted(results, key=lambda r: -r["score"])
        self.categories = [c["id"] for c in truth["categories"]]
        self.taken: dict[int, int] = {}  # object -> detection
        self.right: set[int] = set()
        for d, result in enumerate(self.found):
            free = [
                (iou(result["bbox"], o["bbox"]), g)
                for g, o in enumerate(self.objects)
                if self.same(d, g) and g not in self.taken and o["category_id"] == result["category_id"]
            ]
            best = max(free, default=(0.0, -1))
            if best[0] >= 0.5:
                self.taken[best[1]] = d
                self.right.add(d)
        self.kind: dict[int, str] = {}
        self.near: set[int] = set()
        self.target: dict[int, int] = {}
        for d in set(range(len(self.found))) - self.right:
            self.tell(d)
        self.missed = {g for g in range(len(self.objects)) if g not in self.taken and g not in self.near}

    def same(self, d: int, g: int) -> bool:
        return bool(self.found[d]["image_id"] == self.objects[g]["image_id"])

    def tell(self, d: int) -> None:
        result = self.found[d]
        own = {g: iou(result["bbox"], o["bbox"]) for g, o in enumerate(self.objects) if self.same(d, g)}
        of_class = {g: v for g, v in own.items() if self.objects[g]["category_id"] == result["category_id"]}
        others = {g: v for g, v in own.items() if g not in of_class}
        free = {g: v for g, v in of_class.items() if g not in self.taken}
        used = {g: v for g, v in of_class.items() if g in self.taken}
        del free
        localized = max(((v, g) for g, v in of_class.items()), default=(0.0, -1))
        classified = max(((v, g) for g, v in others.items()), default=(0.0, -1))
        if 0.1 <= localized[0] < 0.5:
            kind, target = "Loc", localized[1]
        elif classified[0] >= 0.5:
            kind, target = "Cls", classified[1]
        elif max(used.values(), default=0.0) >= 0.5:
            kind, target = "Dupe", -1
        elif max(own.values(), default=0.0) < 0.1:
            kind, target = "Bkg", -1
        else:
            kind, target = "Both", -1
        self.kind[d] = kind
        if target >= 0:
            self.target[d] = target
            self.near.add(target)

    def ap(self, without: str = "") -> float:
        """AP50 with errors of one kind mended: false ones taken away, missed objects no longer counted."""
        values = []
        for category in self.categories:
            objects = [g for g, o in enumerate(self.objects) if o["category_id"] == category]
            total = len(objects) - (sum(g in self.missed for g in objects) if without == "Miss" else 0)
            if not objects:
                continue
            hits = [
                d in self.right
                for d, r in enumerate(self.found)
                if r["category_id"] == category and not (d in self.kind and self.kind[d] == without)
            ]
            values.append(interpolated(hits, total))
        return sum(values) / len(values)


def interpolated(hits: list[bool], objects: int) -> float:
    points = [(sum(hits[: k + 1]) / objects, sum(hits[: k + 1]) / (k + 1)) for k in range(len(hits))]
    return sum(max((p for r, p in points if r >= at), default=0.0) for at in np.linspace(0, 1, 101)) / 101


@pytest.mark.parametrize("seed", range(4))
def test_tide_is_what_its_definition_says(seed: int) -> None:
    truth, results = scene(seed)
    errors = boxes_of(truth, results, samples=0).errors
    slow = SlowTide(truth, results)
    counts = {kind: sum(k == kind for k in slow.kind.values()) for kind in ("Cls", "Loc", "Both", "Dupe", "Bkg")}
    counts["Miss"] = len(slow.missed)
    assert {entry.kind: entry.count for entry in errors.kinds} == counts
    assert errors.ap50 == pytest.approx(slow.ap(), abs=1e-9)
    assert errors.ap50 == pytest.approx(evaluate(truth, results)["bbox"]["AP50"], abs=1e-9)
    costs = {entry.kind: entry.d_ap for entry in errors.kinds}
    for kind in ("Both", "Dupe", "Bkg", "Miss"):
        assert costs[kind] == pytest.approx(slow.ap(kind) - slow.ap(), abs=1e-6), kind
    # Mending these turns false ones into right ones: worth at least as much as taking them away.
    for kind in ("Cls", "Loc"):
        assert costs[kind] >= slow.ap(kind) - slow.ap() - 1e-6, kind


def test_a_class_without_predictions_stays_in_tides_mean() -> None:
    """tidecv drops such a class once its missed objects are mended, and so tells their cost half an AP higher."""
    box = [10.0, 10.0, 40.0, 40.0]
    places = [(1, 1), (2, 1), (3, 1), (1, 2)]  # image, class
    truth = {
        "images": [{"id": i, "width": 200, "height": 200} for i in (1, 2, 3)],
        "categories": [{"id": 1, "name": "found"}, {"id": 2, "name": "never predicted"}],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "bbox": box, "area": 1600, "iscrowd": 0}
            for k, (i, c) in enumerate(places, 1)
        ],
    }
    truth["annotations"][3]["bbox"] = [100.0, 100.0, 40.0, 40.0]
    results = [{"image_id": i, "category_id": 1, "bbox": box, "score": 0.9 - 0.1 * i} for i in (1, 2)]
    errors = boxes_of(truth, results, samples=0).errors
    assert errors.ap50 == pytest.approx(67 / 101 / 2, abs=1e-9)  # 2 of 3 of the first class: recalls 0 to 0.66
    assert errors.missed == pytest.approx(1 / 2 - errors.ap50, abs=1e-9)  # the first class is perfect then


@pytest.mark.parametrize("seed", range(2))
def test_classes_curves_and_calibration(seed: int) -> None:
    truth, results = scene(seed)
    kind = boxes_of(truth, results)
    metrics = evaluate(truth, results)["bbox"]
    for entry in kind.per_class:
        of_class = metrics["per_class"][entry.class_key]
        assert (entry.ap, entry.ap50, entry.ar100) == (of_class["AP"], of_class["AP50"], of_class["AR100"])
        assert (entry.objects, entry.detections) == (of_class["ground_truth"], of_class["detections"])
        assert entry.ap_interval is not None
        assert entry.ap_interval[0] <= entry.ap <= entry.ap_interval[1]
    mean, *curves = kind.curves
    assert np.mean(mean.precision) == pytest.approx(metrics["AP50"], abs=1e-3)
    for curve in curves:
        of_class = metrics["per_class"][curve.class_key]
        assert np.mean(curve.precision) == pytest.approx(of_class["AP50"], abs=0.011)
    ground_truth = read_ground_truth(truth)
    run = hotcoco_runs(ground_truth)(read_detections(results, ground_truth, False), "bbox")
    assert kind.calibration.ece == pytest.approx(run.calibration()["ece"], abs=1e-9)
    assert kind.calibration.mce == pytest.approx(run.calibration()["mce"], abs=1e-9)


def test_confusion_counts_everything_once() -> None:
    truth, results = scene(1)
    kind = boxes_of(truth, results)
    matrix = np.array(kind.confusion.matrix)
    assert kind.confusion.labels == ("class 1", "class 2", "class 3", "background")
    assert matrix[:-1].sum() == len(truth["annotations"])
    assert matrix[:, :-1].sum() == sum(r["score"] >= kind.confusion.min_score for r in results)


def ranked(scores: Sequence[float], right: Sequence[int], objects: int) -> Ranked:
    return Ranked(np.array(scores, float), np.array(right, bool), objects)


def test_best_threshold() -> None:
    best = best_threshold(ranked([0.9, 0.8, 0.7, 0.6, 0.1], [1, 1, 0, 1, 0], 4))
    assert (best.threshold, best.precision, best.recall, best.f1) == (0.6, 0.75, 0.75, 0.75)
    # Detections of one score are kept or left out together.
    assert best_threshold(ranked([0.9, 0.5, 0.5], [1, 1, 0], 2)).threshold == 0.5
    assert best_threshold(ranked([0.9], [0], 2)).threshold is None
    assert best_threshold(ranked([], [], 2)).threshold is None


def test_threshold_curve() -> None:
    curve = threshold_curve(ranked([0.9, 0.5, 0.2], [1, 0, 1], 4), "a")
    at = dict(zip(curve.score, zip(curve.precision, curve.recall, strict=True), strict=True))
    assert at[0.5] == (0.5, 0.25)
    assert at[0.2] == (pytest.approx(2 / 3, abs=1e-4), 0.5)
    assert at[1.0] == (1.0, 0.0)


def test_precision_recall_of_nothing() -> None:
    assert set(precision_recall(ranked([], [], 3), "a").precision) == {0.0}
    assert calibration(ranked([], [], 3), 0.5).ece == 0


def test_label_errors_name_what_was_sown() -> None:
    truth, _ = scene(3)
    results = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.8}
        for a in truth["annotations"]
    ]
    gone, renamed = truth["annotations"][2], truth["annotations"][5]
    del truth["annotations"][2]
    true_class = renamed["category_id"]
    renamed["category_id"] = true_class % 3 + 1
    overlapped = [
        a for a in truth["annotations"] if a["image_id"] == gone["image_id"] and iou(a["bbox"], gone["bbox"]) > 0.09
    ]
    assert not overlapped
    found = boxes_of(truth, results).label_errors
    missing = [e for e in found if e.kind == "missing"]
    [other] = [e for e in found if e.kind == "class"]
    assert [(e.image_id, list(e.bbox_xywh)) for e in missing] == [(gone["image_id"], gone["bbox"])]
    assert (other.class_key, other.annotated_class) == (f"class {true_class}", f"class {renamed['category_id']}")
    assert list(other.annotated_bbox_xywh or ()) == renamed["bbox"]


def test_worst_images_come_first() -> None:
    truth, _ = scene(4)
    spoiled = truth["images"][3]["id"]
    results = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.8}
        for a in truth["annotations"]
        if a["image_id"] != spoiled
    ]
    worst = boxes_of(truth, results).worst_images
    assert [image.image_id for image in worst] == [spoiled]
    assert (worst[0].found, worst[0].f1, worst[0].file_name) == (0, 0.0, truth["images"][3]["file_name"])
    assert worst[0].missed == worst[0].objects > 0


def test_slices_are_scored_like_files_of_their_own(tmp_path: Path) -> None:
    truth, results = scene(5, images=20)
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "hard.txt").write_text("20\n4.jpg\nday/7.jpg\n")
    (tmp_path / "parts.json").write_text(json.dumps({"first": [10, 20, 30]}))
    asked = ["folder", "camera", str(tmp_path / "hard.txt"), str(tmp_path / "parts.json"), "objects", "shape", "size"]
    _, analysis = analyse_pair(read_pair(tmp_path / "gt.json", results), asked)
    assert analysis.bbox is not None
    slices = {entry.slice_name: entry for entry in analysis.bbox.slices}
    assert list(slices)[:6] == ["all", "folder: day", "folder: night", "camera: 1", "camera: 0", "hard"]
    ids = {"folder: night": [30, 60, 90, 120, 150, 180], "hard": [20, 40, 70], "first": [10, 20, 30]}
    for name, images in ids.items():
        part = {
            **truth,
            "images": [i for i in truth["images"] if i["id"] in images],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in images],
        }
        expected = evaluate(part, [r for r in results if r["image_id"] in images])["bbox"]
        assert slices[name].images == len(images)
        assert slices[name].ap == pytest.approx(expected["AP"], abs=2e-3)
        assert slices[name].ap_l == pytest.approx(expected["APl"], abs=2e-3)
    assert slices["not hard"].images == 17


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ("camra", SpecError, "'camra' is neither a file nor an attribute.*did you mean 'camera'"),
        ("hard.txt", DataError, r"hard.txt: 1 of 1 entries are no image of .*such as 'nothing'"),
    ],
)
def test_wrong_slices(asked: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    truth, _ = scene(0)
    Path("gt.json").write_text(json.dumps(truth))
    Path("hard.txt").write_text("nothing\n")
    with pytest.raises(error, match=message):
        make_slices([asked], read_ground_truth(Path("gt.json")), Path("gt.json"))


def test_the_json_is_the_documents(tmp_path: Path) -> None:
    """docs/analysis.md names every key, and no other."""
    truth, results = scene(6)
    content = json.loads(json.dumps(analysed(truth, results, split="val").to_json(), allow_nan=False))
    page = (Path(__file__).parents[2] / "docs/analysis.md").read_text(encoding="utf-8")
    assert set(content) == {
        "schema", "split", "images", "objects", "detections", "classes", "category_ids", "bbox",
    }  # fmt: skip
    rows = set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))
    assert set(content["bbox"]) == rows
    keys = {key for entry in _records(content["bbox"]) for key in entry} - {"AP", "AP50", "AP75", "APs", "APm", "APl"}
    assert not {key for key in keys if f"`{key}" not in page and f'"{key}"' not in page}


def _records(value: Any) -> list[Json]:
    if isinstance(value, dict):
        return [value, *(r for inner in value.values() for r in _records(inner))]
    return [r for inner in value for r in _records(inner)] if isinstance(value, list) else []


def test_nothing_is_predicted_or_nothing_is_there() -> None:
    truth, results = scene(7)
    kind = boxes_of(truth, [])
    assert kind.best.threshold is None
    assert {entry.count for entry in kind.errors.kinds if entry.kind != "Miss"} == {0}
    empty = {**truth, "annotations": []}
    assert json.dumps(analysed(empty, results).to_json(), allow_nan=False)
    assert json.dumps(analysed(empty, []).to_json(), allow_nan=False)
