"""An evaluator for MMEngine's validation loop that scores with cvtune's own evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from cvtune.backends.mmdet.detections import detections_of
from cvtune.classes import ClassMap
from cvtune.predictions import to_results

__all__ = ["CollectResults"]


class CollectResults(BaseMetric):  # type: ignore[misc, unused-ignore]
    """Collects COCO results of every image once, over all processes, and hands them to `score` on the main one.

    Image ids are those of the run's canonical validation data, category ids class index + 1.
    """

    default_prefix = "cvtune"

    def __init__(self, names: Sequence[str], score: Callable[[list[dict[str, Any]]], Mapping[str, float]]) -> None:
        """`score` gets all results and returns the scores to show."""
        super().__init__(collect_device="cpu")
        self.classes = ClassMap(tuple(names), tuple(range(1, len(names) + 1)))
        self.score = score

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Take the results of one batch; one entry an image, so that MMEngine can drop what padding repeated."""
        for sample in data_samples:
            image_id = sample["img_id"]
            found = to_results(detections_of(image_id, _Sample(sample)), self.classes, {image_id: image_id})
            self.results.append(found)

    def compute_metrics(self, results: list[list[dict[str, Any]]]) -> dict[str, float]:
        """Score; runs on the main process."""
        return dict(self.score([result for image in results for result in image]))


class _Sample:
    """A data sample that MMEngine's evaluator has turned into a dict, with its instances as one again."""

    def __init__(self, sample: Mapping[str, Any]) -> None:
        instances = sample["pred_instances"]
        self.pred_instances = _Instances(instances) if isinstance(instances, Mapping) else instances


class _Instances(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        return self[name]
