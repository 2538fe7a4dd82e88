"""The doctor on a healthy spec, and on one fault after another: each is told, with what mends it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtune import verbs
from cvtune.doctor import Line
from cvtune.errors import SpecError


def lines(spec: Path, *overrides: str, **options: Any) -> list[Line]:
    return list(verbs.doctor(spec, overrides, **{"steps": 12, **options}))


def of(found: list[Line], topic: str) -> list[tuple[str, str]]:
    return [(line.level, line.seen) for line in found if line.topic == topic]


def bad(found: list[Line]) -> list[str]:
    return [f"{line.level} {line.topic}: {line.seen} FIX {line.fix}" for line in found if line.level != "ok"]


def test_a_healthy_spec_has_nothing_but_ok(
    toy: dict[str, Any], write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    spec = write_spec()
    before = sorted(os.listdir(tmp_path))
    found = lines(spec)
    assert bad(found) == []
    assert [line.topic for line in found] == ["environment", "data", "plan", "memory", "time", "learning"]
    assert of(found, "data") == [("ok", "48 images (train 40, val 8), 96 objects read")]
    assert of(found, "time")[0][1].startswith("0.50 s a step, ")
    assert of(found, "learning")[0][1].startswith("it learns: 6 of your training images, 12 steps: loss ")
    assert of(found, "learning")[0][1].endswith("box AP50 on them 1.00")
    # Nothing is left behind but what the machine is known by.
    assert sorted(set(os.listdir(tmp_path)) - {"cache"}) == before
    assert os.listdir(tmp_path / "scratch") == []


def test_the_trial_trains_as_the_spec_says(toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    lines(write_spec(data__batch_size=8, train__optimizer={"lr": 0.125}), "data.batch_size=16", steps=20)
    timed, handful = toy["trained"]
    assert (timed["data.batch_size"], timed["train.iterations"]) == (16, 4)
    assert (handful["data.batch_size"], handful["train.iterations"]) == (4, 20)
    assert handful["train.optimizer.lr"] == timed["train.optimizer.lr"] == 0.125
    assert handful["train.schedule.name"] == "constant"


def test_without_a_trial_nothing_is_trained(toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    found = lines(write_spec(), trial=False)
    assert [line.topic for line in found] == ["environment", "data", "plan"]
    assert toy["trained"] == []


def test_a_wrong_spec_is_an_error_of_its_own(toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="trian"):
        lines(write_spec(trian={}))


LEARNING: dict[str, tuple[dict[str, Any], str]] = {
    "a loss that stays": ({"loss": lambda step: 2.0, "found": False}, "error learning: it does not learn even these"),
    "nothing is found": ({"found": False}, "error learning: the loss falls, but next to nothing is found"),
    "a failure": (
        {"fails": "loss is not finite at step 3; lower the rate"},
        "error learning: loss is not finite at step 3",
    ),
}


@pytest.mark.parametrize("case", LEARNING)
def test_what_does_not_learn_is_told(case: str, toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    changes, expected = LEARNING[case]
    toy.update(changes)
    said = next(said for said in bad(lines(write_spec())) if said.startswith("error learning"))
    assert said.startswith(expected)
    assert len(said.split(" FIX ")[1]) > 10


def test_why_a_trial_failed_is_told(toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    # Boxes as corners, which a broken backend would give.
    toy["corners"] = True
    found = [line for line in lines(write_spec()) if line.topic == "learning"]
    assert [line.level for line in found][:2] == ["warning", "warning"]
    assert "left, top, right, bottom instead of left, top, width, height" in found[1].seen
    assert "[left, top, width, height]" in found[1].fix


def test_a_trial_that_takes_too_long_is_stopped_and_said(toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    toy["found"] = False
    said = bad(lines(write_spec(), minutes=-1))
    assert said[0].startswith("warning time: fewer than two steps ended within")
    assert len(said) == 2


HOSTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing": ({"missing": True}, {}, "error environment: backend toy: not installed: toys"),
    "a problem": ({"host": {"problems": ("torch does not fit",)}}, {}, "error environment: torch does not fit FIX pip"),
    "a broken kernel": (
        {"host": {"kernels": {"x._C": "compiled but broken: undefined symbol"}}},
        {},
        "warning environment: x._C: compiled but broken",
    ),
    "no GPU": ({}, {"run__device": "cuda"}, "error environment: run.device is cuda, but torch sees no GPU"),
    "too much memory": ({"memory": 1 << 31}, {}, "error memory: a step of 2 images takes 2.00 GiB of 1.0"),
    "nearly too much": ({"memory": 900 << 20}, {}, "warning memory: a step of 2 images takes 0.88 GiB of 1.0"),
}


@pytest.mark.parametrize("case", HOSTS)
def test_the_machine(case: str, toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    behaviour, changes, expected = HOSTS[case]
    toy.update(behaviour)
    said = bad(lines(write_spec(**changes)))
    assert said[0].startswith(expected), said


def test_a_gpu_that_is_not_used_is_told(
    toy: dict[str, Any], write_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Some GPU'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    [said] = bad(lines(write_spec(), trial=False))
    assert said.startswith("warning environment: there is a GPU (Some GPU), but torch none sees none")


def new_class(split: str, record: dict[str, Any]) -> None:
    if split == "val":
        record["categories"].append({"id": 3, "name": "green"})
        record["annotations"][0]["category_id"] = 3


def wrong_size(split: str, record: dict[str, Any]) -> None:
    record["images"][1]["width"] = 97


def outside(split: str, record: dict[str, Any]) -> None:
    record["annotations"][3]["bbox"] = [200, 200, 20, 20]


def crossed(split: str, record: dict[str, Any]) -> None:
    for annotation in record["annotations"]:
        annotation["segmentation"] = [[0, 0, 30, 30, 30, 0, 0, 30]]


DATA: dict[str, tuple[Callable[[str, dict[str, Any]], None], dict[str, Any], str | None]] = {
    "another class in val": (new_class, {}, "error data: class-not-in-train"),
    "a wrong size": (wrong_size, {}, "error data: image-size-differs"),
    "a wrong size, skipped": (wrong_size, {"data__skip_bad_images": True}, "warning data: image-size-differs"),
    "a box outside": (outside, {}, "warning data: box-outside"),
    "masks of a detector": (crossed, {}, None),
}


@pytest.mark.parametrize("case", DATA)
def test_the_data(case: str, toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    spoil, changes, expected = DATA[case]
    said = bad(lines(write_spec(spoil=spoil, **changes), trial=False))
    if expected is None:
        assert said == []
    else:
        assert said[0].startswith(expected), said
        assert not said[0].endswith("FIX ")


def test_the_same_image_in_two_parts(toy: dict[str, Any], write_spec: Callable[..., Path], tmp_path: Path) -> None:
    spec = write_spec()
    (tmp_path / "val/1.png").write_bytes((tmp_path / "train/1.png").read_bytes())
    said = bad(lines(spec, trial=False))
    assert said[0].startswith("error data: image-leak: 1 times: The same image is in two parts of the set. First: ")
    assert said[0].endswith("FIX remove them from one part, or split anew: data.split with by: prefix")


def test_too_little_to_learn_from(toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    said = bad(lines(write_spec(images=6), trial=False))
    assert said[0].startswith("warning data: only 6 training images")
    assert said[1].startswith("warning data: classes with fewer than 10 training objects: red (6), blue (6)")


def test_lines_are_json(toy: dict[str, Any], write_spec: Callable[..., Path]) -> None:
    for line in lines(write_spec(), trial=False):
        assert set(json.loads(json.dumps(line.to_json()))) == {"level", "topic", "seen", "fix"}
