"""`python tools/doctor.py ...` is `cvtune doctor ...`; it works from a source tree that is not installed."""

import sys
from pathlib import Path

# In place of this folder, whose files would hide packages of the same names.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cvtune.cli import main  # noqa: E402

if __name__ == "__main__":
    main(["doctor", *sys.argv[1:]])
