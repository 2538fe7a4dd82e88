"""A source archive of Detectron2 in miniature: the files that are patched, with what is patched in them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cvtune.kernels import detectron2_install, detectron2_wheel
from cvtune.kernels.detectron2_patches import PATCHES

ROOT = "pb1-detectron2-0.6"
# Where the archive has what the wheel has below detectron2/projects.
PROJECTS = {
    "detectron2/projects/panoptic_deeplab/": "projects/Panoptic-DeepLab/panoptic_deeplab/",
    "detectron2/projects/point_rend/": "projects/PointRend/point_rend/",
}


@pytest.fixture
def sources() -> dict[str, str]:
    """Path in the archive -> text; a test may change it before it calls `archive`."""
    files = {
        "LICENSE": "a licence\n",
        "setup.py": "raise SystemExit('the code of the archive was run')\n",
        "detectron2/__init__.py": '__version__ = "0.6"\n',
        "detectron2/model_zoo/configs/COCO-Detection/retinanet.yaml": "MODEL: {}\n",
        "detectron2/layers/notes.txt": "not installed\n",
        "projects/PointRend/point_rend/__init__.py": "",
        "tools/train_net.py": "",
    }
    for patch in PATCHES:
        path = patch.file
        for installed, archived in PROJECTS.items():
            path = path.replace(installed, archived)
        files[path] = files.get(path, "") + f"# {patch.name}\n" + f"{patch.before}\n" * patch.count
    return files


@pytest.fixture
def archive(tmp_path: Path, sources: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Writes the archive, and makes its hash the expected one."""

    def write() -> Path:
        path = tmp_path / f"{ROOT}.tar.gz"
        with tarfile.open(path, "w:gz") as target:
            for name, text in sources.items():
                member = tarfile.TarInfo(f"{ROOT}/{name}")
                member.size = len(text.encode())
                target.addfile(member, io.BytesIO(text.encode()))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(detectron2_install, "ARCHIVE_SHA256", digest)
        monkeypatch.setattr(detectron2_wheel, "ARCHIVE_SHA256", digest)
        return path

    return write
