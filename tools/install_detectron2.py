"""Install Detectron2 0.6 without a compiler; `--help` lists the options, `docs/detectron2-install.md` explains."""

import sys
from pathlib import Path

# In place of this folder, whose files would hide packages of the same names.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cvtune.kernels.detectron2_install import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
