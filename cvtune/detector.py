"""The Python API of a trained run: ``cvtune.load(run).predict(images)``, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cvtune.backends import load_backend
from cvtune.backends.base import PredictImage
from cvtune.data.coco import Rle
from cvtune.errors import DataError
from cvtune.runs import RunDir, open_run, read_json

__all__ = ["Detector", "Prediction", "load"]


@dataclass(frozen=True)
class Prediction:
    """One object: its class name and source category id, score in 0..1, box and mask in original pixels."""

    name: str
    category_id: int | str
    score: float
    bbox_xywh: tuple[float, float, float, float]
    rle: Rle | None


class Detector:
    """A trained run that predicts."""

    def __init__(self, run: RunDir, checkpoint: Path) -> None:
        """Use `load` instead."""
        self.run, self.checkpoint = run, checkpoint
        self.class_map = run.class_map()
        self.backend = load_backend(read_json(run.record)["backend"])

    def predict(
        self, images: str | Path | Sequence[str | Path], score_threshold: float = 0.0
    ) -> list[list[Prediction]]:
        """Predict image files.

        Args:
            images: paths of image files; one path stands for a list of one.
            score_threshold: predictions below it are left out.

        Returns:
            For each image, its predictions, best first.

        Raises:
            DataError: an image is missing or cannot be decoded.
        """
        if isinstance(images, str | Path):
            images = [images]
        inputs = [PredictImage(i, Path(path)) for i, path in enumerate(images)]
        predictions: list[list[Prediction]] = [[] for _ in inputs]
        for detection in self.backend.predict(self.run, self.checkpoint, inputs):
            if detection.score >= score_threshold:
                index = detection.class_index
                predictions[int(detection.image_id)].append(
                    Prediction(
                        self.class_map.names[index],
                        self.class_map.source_ids[index],
                        detection.score,
                        detection.bbox_xywh,
                        detection.rle,
                    )
                )
        return [sorted(found, key=lambda p: -p.score) for found in predictions]


def load(run: str | Path, checkpoint: str | Path | None = None) -> Detector:
    """Open a trained run.

    Args:
        run: the run directory.
        checkpoint: default: the run's best, else its last.

    Raises:
        SpecError: there is no such run directory.
        DataError: its checkpoint does not exist.
    """
    directory = open_run(run)
    path = Path(checkpoint) if checkpoint else directory.selected
    if not path.exists():
        raise DataError(f"{path}: no such checkpoint; train the run first")
    return Detector(directory, path)
