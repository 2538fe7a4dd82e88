"""Damaged files for every reader, for some minutes each: `make fuzz MINUTES=10`.

python tests/fuzz.py [--minutes 10] [FORMAT ...]        ends with 1 at the first input that a reader does not survive

Hypothesis makes the inputs, in rounds of seeds 0, 1, ..., and shrinks what fails; `test_robustness.py` is a short form.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent / "data" / "formats"))

from test_robustness import damage_and_read, made
from test_samples import SAMPLES

from cvtune.data.formats import FORMATS

ROUND = 100  # inputs; the time is looked at between rounds


def fuzz(name: str, seconds: float) -> int:
    """Read damaged files of a format for some seconds; how many. Raises what a reader does not survive."""
    inputs = 0
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        files = made(name, folder)
        if not files:  # a format without a writer
            SAMPLES[name](folder)
            files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".jpg")
        originals = {file: file.read_bytes() for file in files}
        end = time.monotonic() + seconds
        for number in itertools.count():

            @seed(number)
            @settings(max_examples=ROUND, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(data=st.data())
            def some(data: st.DataObject) -> None:
                nonlocal inputs
                inputs += 1
                damage_and_read(name, folder, originals, data)

            some()
            if time.monotonic() >= end:
                return inputs
    return inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=list(FORMATS), help="default: all")
    parser.add_argument("--minutes", type=float, default=10, help="for each format")
    arguments = parser.parse_args()
    for name in arguments.formats:
        print(f"{name}: {fuzz(name, 60 * arguments.minutes):,} inputs survived", flush=True)


if __name__ == "__main__":
    main()
