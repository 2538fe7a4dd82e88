"""The page on the installer lists every change and every option there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtune.kernels import detectron2_c
from cvtune.kernels.detectron2_install import main
from cvtune.kernels.detectron2_patches import PATCHES
from cvtune.kernels.detectron2_wheel import VERSION

PAGE = (Path(__file__).parents[2] / "docs" / "detectron2-install.md").read_text()


def test_changes() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `") and ".py`" in line]
    expected = [f"| `{patch.name}` | `{patch.file.removeprefix('detectron2/')}` | {patch.why} |" for patch in PATCHES]
    assert rows == expected
    assert f"`{VERSION}`" in PAGE


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    options = {word.strip("[],") for word in capsys.readouterr().out.split() if word.strip("[],").startswith("--")}
    for option in options - {"--help"}:
        assert f"| `{option}" in PAGE


def test_operators() -> None:
    families = ("deform_conv_", "modulated_deform_conv_", "roi_align_rotated_")
    for name in detectron2_c.OPERATORS:
        if name.islower() or name.startswith("COCO"):
            assert name.startswith(families) or f"`{name}`" in PAGE
