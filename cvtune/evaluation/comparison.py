"""Whether one set of predictions is better than another: both scored on the same draws of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.errors import DataError
from cvtune.evaluation.bootstrap import FIGURES, SAMPLES, Draws, Resampler, draw_weights, interval
from cvtune.evaluation.detections import Detections, read_detections
from cvtune.evaluation.engines import IouType
from cvtune.evaluation.foreign import read_foreign
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.metrics import class_keys
from cvtune.evaluation.scoring import Scorer
from cvtune.runs import RunDir, read_json

__all__ = ["Comparison", "Difference", "compare", "compare_files", "compare_runs"]

KINDS = {"bbox": "AP", "segm": "mask AP"}


@dataclass(frozen=True)
class Difference:
    """A figure of both, 0..1, b - a, and the 95 % interval of the difference; None where draws say nothing."""

    a: float
    b: float
    difference: float
    interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        spread = None if self.interval is None else [round(end, 5) for end in self.interval]
        return {"a": self.a, "b": self.b, "difference": round(self.difference, 5), "interval": spread}


@dataclass(frozen=True)
class Comparison:
    """Two sets of predictions on the same images; `figures` has AP, AP50, ... where there is ground truth."""

    kind: IouType
    images: int
    sentence: str
    figures: Mapping[str, Difference]
    per_class: Mapping[str, Difference]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; see docs/analysis.md."""
        return {
            "schema": 1,
            "kind": self.kind,
            "images": self.images,
            "sentence": self.sentence,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "per_class": {name: figure.to_json() for name, figure in self.per_class.items()},
            "notes": list(self.notes),
        }


def compare(
    truth: GroundTruth,
    a: Detections,
    b: Detections,
    kind: IouType = "bbox",
    names: tuple[str, str] = ("A", "B"),
    numbers: list[int] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two sets of predictions.

    Args:
        truth: the ground truth. a, b: the predictions.
        kind: boxes or masks.
        names: what the two are called in the sentence.
        numbers: the images that count (1, 2, ...); None: all.
        samples: how many draws of the images. seed: of the draws.
    """
    one, two = Resampler(truth, a, kind), Resampler(truth, b, kind)
    at = np.arange(one.images) if numbers is None else np.array(sorted(set(numbers)), np.int64) - 1
    whole = np.zeros((one.images, 1), np.float32)
    whole[at] = 1
    drawn = np.zeros((one.images, samples), np.float32)
    drawn[at] = draw_weights(len(at), samples, seed)
    values = one.count(whole), two.count(whole)
    draws = one.count(drawn), two.count(drawn)
    figures = {
        name: _difference(values[0].figures[name], values[1].figures[name], _minus(draws, name), len(at))
        for name in FIGURES
        if not np.isnan(values[0].figures[name][0])
    }
    per_class = {
        key: _difference(
            values[0].per_class[k], values[1].per_class[k], draws[1].per_class[k] - draws[0].per_class[k], len(at)
        )
        for k, key in enumerate(class_keys(truth))
        if not np.isnan(values[0].per_class[k][0])
    }
    sentence = _sentence(figures["AP"], names, KINDS[kind]) if "AP" in figures else "There is nothing to compare."
    return Comparison(kind, len(at), sentence, figures, per_class)


def _minus(draws: tuple[Draws, Draws], name: str) -> Any:
    return draws[1].figures[name] - draws[0].figures[name]


def _difference(a: Any, b: Any, draws: Any, images: int) -> Difference:
    before, after = float(a[0]), float(b[0])
    return Difference(before, after, after - before, interval(draws, after - before, images, (-1.0, 1.0)))


def _sentence(ap: Difference, names: tuple[str, str], what: str) -> str:
    """Who is better, in AP times 100; a difference whose interval holds 0 is called none."""
    sign = 1 if ap.difference >= 0 else -1
    better, worse = (names[1], names[0]) if sign > 0 else names
    points = f"{abs(ap.difference) * 100:.1f} {what}"
    if ap.interval is None:
        return f"{better} is ahead by {points}; the images are too few for an interval."
    if ap.difference == 0 and ap.interval == (0.0, 0.0):
        return f"No difference: both have {100 * ap.a:.1f} {what}, whichever images are drawn."
    low, high = sorted(sign * 100 * end for end in ap.interval)
    if low > 0:
        return f"{better} is better by {points}, interval {low:.1f} to {high:.1f}."
    return (
        f"No clear difference: {better} is {points} above {worse}, but the interval, {low:.1f} to {high:.1f}, holds 0."
    )


def compare_files(
    ground_truth: Path, a: Path, b: Path, samples: int = SAMPLES, names: tuple[str, str] | None = None
) -> Comparison:
    """Compare two prediction files of any form that `cvtune.evaluation.foreign` knows.

    Raises:
        DataError: a file is wrong.
    """
    scorer = Scorer(ground_truth)
    taken = [read_foreign(path, scorer.truth) for path in (a, b)]
    found = [scorer.read(foreign) for foreign in taken]
    kind = _kind(scorer, *found)
    return compare(scorer.truth, found[0], found[1], kind, names or _names(Path(a), Path(b)), samples=samples)


def compare_runs(a: RunDir, b: RunDir, split: str | None = None, samples: int = SAMPLES) -> Comparison:
    """Compare two runs on the images of the split that both have; classes are those of the first.

    Raises:
        DataError: a run has no predictions, the classes differ, or the runs share no image.
    """
    split = split or a.scored_split
    for run in (a, b):
        for path in (run.data(split), run.predictions_of(split), run.images):
            if not path.exists():
                raise DataError(f"{path}: no such file; `cvtune eval {run.path} --split {split}` predicts the split")
    scorer = Scorer(a.data(split))
    maps = a.class_map(), b.class_map()
    if maps[0].names != maps[1].names:
        raise DataError(
            f"{b.path}: its classes are {maps[1].describe()}, those of {a.path} {maps[0].describe()}; runs of "
            "different classes do not compare"
        )
    index, shared, notes = _shared_images(a, b, split, scorer.truth)
    found = []
    for run, class_map, images in zip((a, b), maps, index, strict=True):
        categories = {source_id: k for k, source_id in enumerate(class_map.source_ids, 1)}
        path = run.predictions_of(split)
        found.append(read_detections(path, scorer.truth, scorer.want_masks, images, categories))
    kind = _kind(scorer, *found)
    told = compare(scorer.truth, found[0], found[1], kind, _names(a.path, b.path), shared, samples)
    return Comparison(told.kind, told.images, told.sentence, told.figures, told.per_class, notes)


def _shared_images(
    a: RunDir, b: RunDir, split: str, truth: GroundTruth
) -> tuple[tuple[dict[Any, int], dict[Any, int]], list[int], tuple[str, ...]]:
    """Each run's source image id -> number in the first run's ground truth; the numbers of the images of both."""
    listed = [read_json(run.images).get(split, []) for run in (a, b)]
    own = {i["source_id"]: truth.image_index[i["id"]] for i in listed[0] if i["id"] in truth.image_index}
    by_file = {i["file_name"]: own[i["source_id"]] for i in listed[0] if i["source_id"] in own}
    other = {i["source_id"]: by_file[i["file_name"]] for i in listed[1] if i["file_name"] in by_file}
    shared = sorted(set(own.values()) & set(other.values()))
    if not shared:
        raise DataError(
            f"{b.path}: none of its {split} images is one of {a.path}: runs of different images do not compare"
        )
    if len(other) < len(listed[1]):
        # Predictions of images that only the second run has count for nothing.
        raise DataError(
            f"{b.path}: {len(listed[1]) - len(other)} of its {len(listed[1])} {split} images are none of {a.path}; "
            "compare runs of one data set, or predictions with --gt"
        )
    notes: tuple[str, ...] = ()
    if len(shared) < len(own):
        notes = (f"Only the {len(shared)} images that both runs have are compared, of {len(own)}.",)
    return (own, other), shared, notes


def _kind(scorer: Scorer, a: Detections, b: Detections) -> IouType:
    """Masks where both have them, else boxes."""
    return "segm" if "segm" in scorer.kinds(a) and "segm" in scorer.kinds(b) and len(a) and len(b) else "bbox"


def _names(a: Path, b: Path) -> tuple[str, str]:
    names = (a.stem, b.stem) if a.suffix else (a.name, b.name)
    return names if names[0] != names[1] else ("A", "B")
