"""Scores of predictions against ground truth: one reading of the ground truth, any number of scorings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cvtune.errors import DataError, SpecError, nearest
from cvtune.evaluation.columns import Columns
from cvtune.evaluation.detections import Detections, Hint, read_detections
from cvtune.evaluation.engines import ENGINES, Engine, EngineScores, IouType
from cvtune.evaluation.foreign import Foreign, read_foreign
from cvtune.evaluation.ground_truth import read_ground_truth
from cvtune.evaluation.metrics import check_equal, iou_metrics, notes
from cvtune.evaluation.records import Id, no_collection

__all__ = ["IOU_TYPES", "EngineName", "Scorer", "evaluate", "evaluate_canonical"]

EngineName = Literal["hotcoco", "pycocotools"]
IOU_TYPES: tuple[IouType, ...] = ("bbox", "segm")


class Scorer:
    """Ground truth that is read once and scored against again and again, as a training does after every epoch."""

    def __init__(
        self,
        ground_truth: Path | Mapping[str, Any],
        engine: EngineName = "hotcoco",
        iou_types: Sequence[IouType] | None = None,
    ) -> None:
        """Read the ground truth; the arguments are those of `evaluate`."""
        if engine not in ENGINES:
            raise SpecError(f"engine: {engine!r} is unknown; allowed: {', '.join(ENGINES)}{nearest(engine, ENGINES)}")
        for asked in iou_types or ():
            if asked not in IOU_TYPES:
                raise SpecError(f"iou_types: {asked!r} is unknown; allowed: {', '.join(IOU_TYPES)}")
        if isinstance(iou_types, str) or (iou_types is not None and not iou_types):
            raise SpecError(f"iou_types: expected a list of {', '.join(IOU_TYPES)}, got {iou_types!r}")
        self.truth = read_ground_truth(ground_truth)
        self.engine: EngineName = engine
        self.asked = None if iou_types is None else tuple(kind for kind in IOU_TYPES if kind in iou_types)
        # Looked at only where masks are in question: with many annotations it takes a while.
        self._without_mask = 0 if self.asked == ("bbox",) else self.truth.without_mask
        self._objects = int((~self.truth.crowd).sum())
        if self.asked and "segm" in self.asked and self._without_mask:
            raise DataError(
                f"{self.truth.where}: masks are to be scored, but {self._without_mask} of {self._objects} annotations "
                "have no segmentation; score boxes alone, or give the masks"
            )
        self._engines: dict[str, Engine] = {}

    def score(
        self,
        results: Path | Sequence[Mapping[str, Any]] | Columns,
        check: bool = False,
        image_index: Mapping[Id, int] | None = None,
        category_index: Mapping[Id, int] | None = None,
        hint: Hint | None = None,
    ) -> dict[str, Any]:
        """Score predictions; see `evaluate` for the result and `read_detections` for the other arguments.

        Raises:
            DataError: the predictions are wrong.
            RunError: `check` is on and pycocotools says another number.
        """
        found = read_detections(results, self.truth, self.want_masks, image_index, category_index, hint)
        return self.score_detections(found, _where(results), check)

    def score_foreign(self, results: Path | Any, check: bool = False) -> dict[str, Any]:
        """Score predictions of any form that `cvtune.evaluation.foreign` knows; the notes say what was taken for what.

        Raises:
            DataError: the predictions are wrong.
            RunError: `check` is on and pycocotools says another number.
        """
        foreign = read_foreign(results, self.truth)
        found = self.read(foreign)
        return self.with_notes(self.score_detections(found, foreign.columns.where, check), foreign)

    def read(self, foreign: Foreign) -> Detections:
        """The detections of predictions that were taken."""
        index = foreign.image_index, foreign.category_index
        return read_detections(foreign.columns, self.truth, self.want_masks, *index)

    @staticmethod
    def with_notes(metrics: dict[str, Any], foreign: Foreign) -> dict[str, Any]:
        """Metrics whose notes begin with what was done to take the predictions."""
        return {**metrics, "notes": [*foreign.said, *metrics["notes"]]}

    @property
    def want_masks(self) -> bool:
        """Whether masks are scored where the predictions have them."""
        return "segm" in self.asked if self.asked else self._objects > 0 and not self._without_mask

    def score_detections(self, found: Detections, where: str = "predictions", check: bool = False) -> dict[str, Any]:
        """Score detections that are read already."""
        return self.metrics(found, self.run(found, where, check), check)

    def run(self, found: Detections, where: str = "predictions", check: bool = False) -> dict[IouType, EngineScores]:
        """What the engine says of each kind; see `score` for the errors."""
        scores = {kind: self._run(self.engine)(found, kind) for kind in self.kinds(found, where)}
        if check and self.engine != "pycocotools":
            for kind, own in scores.items():
                check_equal(own, self._run("pycocotools")(found, kind), kind)
        return scores

    def metrics(self, found: Detections, scores: Mapping[IouType, EngineScores], check: bool = False) -> dict[str, Any]:
        """What `score` returns, of what `run` returned."""
        scored: dict[str, Any] = {kind: iou_metrics(own, self.truth, found) for kind, own in scores.items()}
        checked = check and self.engine != "pycocotools"
        return {
            **scored,
            "engine": self.engine,
            "checked_with": "pycocotools" if checked else None,
            "split": None,
            "images": len(self.truth.sizes_hw),
            "annotations": len(self.truth.image),
            "detections": len(found),
            "notes": notes(self.truth, found, scored) + self._mask_notes(found),
        }

    def _run(self, engine: str) -> Engine:
        if engine not in self._engines:
            self._engines[engine] = ENGINES[engine](self.truth)
        return self._engines[engine]

    def kinds(self, found: Detections, where: str = "predictions") -> tuple[IouType, ...]:
        """What is scored: as asked, else boxes, and masks where both sides have them."""
        with_masks = found.masks is not None or not len(found)
        if self.asked is None:
            return IOU_TYPES if self.want_masks and with_masks else ("bbox",)
        if "segm" in self.asked and not with_masks:
            raise DataError(f"{where}: masks are to be scored, but no prediction has a segmentation")
        return self.asked

    def _mask_notes(self, found: Detections) -> list[str]:
        if self.asked is None and 0 < self._without_mask < self._objects:
            return [
                f"{self._without_mask} of {self._objects} ground-truth objects have no mask, so masks are not scored."
            ]
        return []


def _where(results: Path | Sequence[Mapping[str, Any]] | Columns) -> str:
    if isinstance(results, Columns):
        return results.where
    return str(results) if isinstance(results, str | Path) else "predictions"


def evaluate(
    ground_truth: Path | Mapping[str, Any],
    predictions: Path | Sequence[Mapping[str, Any]],
    engine: EngineName = "hotcoco",
    iou_types: Sequence[IouType] | None = None,
    check: bool = False,
    foreign: bool = False,
) -> dict[str, Any]:
    """COCO scores of predictions.

    Before either engine sees them, ids are renumbered to 1..n in pycocotools' order: pycocotools takes an annotation
    with id 0 for an unmatched one, and string ids are not every engine's. Without such ids, the twelve numbers are
    those that pycocotools gives for the same two files, to the last bit.

    Args:
        ground_truth: a COCO file or its content; `area`, `iscrowd`, `info` may be missing.
        predictions: a COCO results file or its list, with the ground truth's image and category ids (numbers or
            strings) and boxes in pixels, x y w h.
        engine: what computes the numbers: hotcoco, or pycocotools, the reference.
        iou_types: "bbox", "segm"; None: boxes, and masks where both sides have them (or there are no predictions).
        check: also run pycocotools and compare all twelve numbers.
        foreign: take the forms of other programs too, see `cvtune.evaluation.foreign`; the notes say what was done.

    Returns:
        ``{"bbox": {twelve numbers in 0..1, "per_class": {name: {"AP", "AP50", "AP75", "AR100", "ground_truth",
        "detections"}}}, "segm": the same, "engine", "checked_with", "split": None, "images", "annotations",
        "detections", "notes": sentences}``. -1 stands where there is no ground truth; no predictions give 0.

    Raises:
        DataError: either side is wrong, in one line that says where.
        RunError: the two engines differ.
        SpecError: an unknown engine or IoU type.
    """
    with no_collection():
        scorer = Scorer(ground_truth, engine, iou_types)
        return scorer.score_foreign(predictions, check) if foreign else scorer.score(predictions, check)


def evaluate_canonical(
    ground_truth: Path | Mapping[str, Any] | Scorer, results: Sequence[Mapping[str, Any]], check: bool = False
) -> dict[str, Any]:
    """`evaluate` of results with the run's canonical ids; pass a `Scorer` to read the ground truth only once."""
    scorer = ground_truth if isinstance(ground_truth, Scorer) else Scorer(ground_truth)
    return scorer.score(results, check)
