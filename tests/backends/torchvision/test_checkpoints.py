"""Our own checkpoints and the averaged weights in them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from cvtune.backends.checkpoints import check_class_lock, read_checkpoint, write_checkpoint
from cvtune.backends.ema import Ema
from cvtune.classes import ClassMap
from cvtune.errors import DataError, RunError

LOCK = ClassMap(("a", "b"), (1, 2))


def content(value: float) -> dict[str, object]:
    return {"cvtune": {"classes": LOCK.to_json()}, "model": {"w": torch.full((4000,), value)}}


def test_a_disk_that_fills_up_keeps_the_checkpoint_of_before(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, content(1.0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(RunError, match="the checkpoint of before is kept"):
            write_checkpoint(path, content(2.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_checkpoint(path)["model"]["w"][0] == 1.0
    assert list(tmp_path.iterdir()) == [path]


def test_another_class_lock_is_refused_with_both_lists(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, content(1.0))
    check_class_lock(read_checkpoint(path), LOCK, path)
    with pytest.raises(DataError, match=r"\[1=a, 2=b\].*\[1=b, 2=a\]"):
        check_class_lock(read_checkpoint(path), ClassMap(("b", "a"), (1, 2)), path)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


@pytest.mark.parametrize("kind", ["missing", "cut short", "code", "foreign"])
def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pth"
    if kind == "cut short":
        write_checkpoint(path, content(1.0))
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "code":
        torch.save({"cvtune": {}, "model": Malicious()}, path)
    elif kind == "foreign":
        torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"x\.pth"):
        read_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


def test_the_average_follows_its_formula_and_gives_the_weights_back() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    ema = Ema(model, decay=0.5)
    expected = 0.0
    for step in range(5):
        nn.init.constant_(model.weight, float(step + 1))
        ema.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
    assert float(ema.weights["weight"]) == pytest.approx(expected)
    with ema.applied_to(model):
        assert float(model.weight.detach()) == pytest.approx(expected)
    assert float(model.weight.detach()) == 5.0
