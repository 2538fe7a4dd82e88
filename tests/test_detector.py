"""The Python API of a trained run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import cvtune
from cvtune import detector
from cvtune.backends.base import Detection, PredictImage
from cvtune.classes import ClassMap
from cvtune.errors import DataError, SpecError
from cvtune.runs import RunDir, write_json


class Backend:
    """Finds a cat and a dog in each image, the worse one first."""

    def predict(self, run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
        """Two detections an image, images in another order than asked."""
        for image in reversed(list(images)):
            for index, score in ((0, 0.25), (1, 0.75)):
                yield Detection(image.id, index, score, (float(len(image.path.stem)), 0.0, 2.0, 3.0))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    run = RunDir(tmp_path / "run")
    write_json(run.record, {"backend": "torchvision"})
    write_json(run.classes, ClassMap(("cat", "dog"), (7, "d")).to_json())
    run.checkpoints.mkdir()
    run.last.write_bytes(b"")
    monkeypatch.setattr(detector, "load_backend", lambda name: Backend())
    return run


def test_predictions_carry_names_and_ids_of_the_source_best_first(run: RunDir) -> None:
    first, second = cvtune.load(run.path).predict(["a.jpg", Path("bbb.jpg")])
    assert [(p.name, p.category_id, p.score) for p in first] == [("dog", "d", 0.75), ("cat", 7, 0.25)]
    assert [found[0].bbox_xywh[0] for found in (first, second)] == [1, 3]
    assert first[0].rle is None


def test_a_threshold_leaves_out_and_a_lone_path_is_a_list_of_one(run: RunDir) -> None:
    [found] = cvtune.load(run.path).predict("a.jpg", score_threshold=0.5)
    assert [p.name for p in found] == ["dog"]


def test_the_best_checkpoint_is_taken_unless_another_is_named(run: RunDir, tmp_path: Path) -> None:
    assert cvtune.load(run.path).checkpoint == run.last
    run.best.write_bytes(b"")
    assert cvtune.load(str(run.path)).checkpoint == run.best
    assert cvtune.load(run.path, run.last).checkpoint == run.last
    with pytest.raises(DataError, match=r"other\.pth: no such checkpoint"):
        cvtune.load(run.path, tmp_path / "other.pth")


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="none: no such run directory; `cvtune train SPEC` makes runs/<name>"):
        cvtune.load(tmp_path / "none")
    with pytest.raises(SpecError, match=r"not a run directory: it has no run\.json"):
        cvtune.load(tmp_path)
