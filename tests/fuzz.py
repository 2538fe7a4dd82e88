"""Damaged files for every reader, for some minutes each: `make fuzz MINUTES=10`.

python tests/fuzz.py [--minutes 10] [FORMAT ...]        ends with 1 at the first input that a reader does not survive

What is damaged, in turn: the set that the format's writer makes and every set of the format among the samples and
layouts of the tests. Hypothesis makes the inputs, in rounds of seeds 0, 1, ..., and shrinks what fails;
`test_robustness.py` is a short form.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent / "data" / "formats"))

from test_json_sets import SETS
from test_layouts import LAYOUTS
from test_robustness import damage_and_read, made
from test_samples import SAMPLES, put

from cvtune.data.formats import FORMATS

ROUND = 100  # inputs; the time is looked at between rounds


def sets_of(name: str, root: Path) -> list[Path]:
    """Make every known set of a format, each in its folder."""
    makers = [lambda folder: made(name, folder)]
    makers += [make for sample, make in SAMPLES.items() if sample.split(":")[0] == name]
    laid_out = (*LAYOUTS.values(), *SETS.values())
    makers += [partial(lay_out, files) for files, format, *_ in laid_out if format == name]
    folders = []
    for number, make in enumerate(makers):
        folder = root / str(number)
        folder.mkdir()
        make(folder)
        folders.append(folder)
    return folders


def lay_out(files: dict[str, Any], folder: Path) -> None:
    for file, content in files.items():
        put(folder / file, None if isinstance(content, tuple) else content)  # a tuple is a picture's size


def fuzz(name: str, seconds: float) -> tuple[int, int]:
    """Read damaged files of a format for some seconds; how many, of how many sets. Raises what is not survived."""
    with tempfile.TemporaryDirectory() as text:
        sets = []
        for folder in sets_of(name, Path(text)):
            files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".jpg")
            if content := {file: file.read_bytes() for file in files}:  # none of a format without a writer
                sets.append((folder, content))
        inputs = 0
        end = time.monotonic() + seconds
        for number in itertools.count():
            inputs += damage(name, *sets[number % len(sets)], number)
            if time.monotonic() >= end:
                break
    return inputs, len(sets)


def damage(name: str, folder: Path, originals: dict[Path, bytes], number: int) -> int:
    """One round of damages to a set; how many."""
    inputs = 0

    @seed(number)
    @settings(max_examples=ROUND, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    def some(data: st.DataObject) -> None:
        nonlocal inputs
        inputs += 1
        damage_and_read(name, folder, originals, data)

    some()
    return inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=list(FORMATS), help="default: all")
    parser.add_argument("--minutes", type=float, default=10, help="for each format")
    arguments = parser.parse_args()
    for name in arguments.formats:
        inputs, sets = fuzz(name, 60 * arguments.minutes)
        print(f"{name}: {inputs:,} inputs survived, of {sets} sets", flush=True)


if __name__ == "__main__":
    main()
