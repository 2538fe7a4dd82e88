"""What a run says of how it began."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from cvtune.training import Start, command_of

COMMANDS = {
    "as it is": ("a.yaml", (), Start(), "cvtune train a.yaml"),
    "resumed": ("a.yaml", (), Start(resume=True), "cvtune train a.yaml"),
    "a path with a blank": ("my specs/a.yaml", (), Start(), "cvtune train 'my specs/a.yaml'"),
    "overrides": (
        "a.yaml",
        ("train.epochs=3", "data.augment=[{Flip: {p: 0.5}}]"),
        Start(),
        "cvtune train a.yaml -s train.epochs=3 -s 'data.augment=[{Flip: {p: 0.5}}]'",
    ),
    "flags": (
        "a.yaml",
        ("name=x",),
        Start(overwrite=True, find_lr=True),
        "cvtune train a.yaml -s name=x --overwrite --find-lr",
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_the_command_repeats_the_run_in_a_shell(case: str) -> None:
    path, overrides, start, command = COMMANDS[case]
    assert command_of(Path(path), overrides, start) == command
    assert shlex.split(command)[4 : 4 + 2 * len(overrides) : 2] == list(overrides)
