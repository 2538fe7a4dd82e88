"""The wheel that is built from Detectron2's source archive, and the changes that are made on the way."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cvtune.errors import DataError
from cvtune.kernels import detectron2_wheel
from cvtune.kernels.detectron2_patches import PATCHES, patch_text
from cvtune.kernels.detectron2_wheel import REQUIREMENTS, VERSION, WHEEL_NAME, build_wheel, patched_files

Archive = Callable[[], Path]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_contents(archive: Archive, tmp_path: Path) -> None:
    source = archive()
    wheel, made = build_wheel(source, tmp_path / "new" / "folder", digest(source))
    assert wheel.name == WHEEL_NAME
    assert set(made) == set(PATCHES)
    info = f"detectron2-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
        record = content.read(f"{info}/RECORD").decode()
        metadata = content.read(f"{info}/METADATA").decode()
        changes = content.read(f"{info}/CHANGES").decode()
    assert {
        "detectron2/__init__.py",
        "detectron2/_C.py",
        "detectron2/model_zoo/configs/COCO-Detection/retinanet.yaml",
        "detectron2/projects/point_rend/__init__.py",
        "detectron2/projects/panoptic_deeplab/post_processing.py",
        f"{info}/licenses/LICENSE",
    } <= names
    assert not [name for name in names if name.startswith(("tools", "setup", "projects")) or name.endswith("notes.txt")]
    assert {line.split(",")[0] for line in record.splitlines()} == names
    assert f"Version: {VERSION}\n" in metadata
    assert metadata.count("Requires-Dist: ") == len(REQUIREMENTS)
    assert len(changes.splitlines()) == len(PATCHES)


def test_the_same_archive_gives_the_same_bytes(archive: Archive, tmp_path: Path) -> None:
    source = archive()
    wheels = [build_wheel(source, tmp_path / name, digest(source))[0] for name in ("a", "b")]
    assert digest(wheels[0]) == digest(wheels[1])


def test_pip_installs_it(archive: Archive, tmp_path: Path) -> None:
    wheel, _ = build_wheel(archive(), tmp_path, detectron2_wheel.ARCHIVE_SHA256)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*command, str(tmp_path / "site"), str(wheel)], check=True, capture_output=True)
    assert (tmp_path / "site/detectron2/_C.py").is_file()
    assert (tmp_path / f"site/detectron2-{VERSION}.dist-info/INSTALLER").read_text().strip() == "pip"


def test_another_hash_is_refused(archive: Archive) -> None:
    source = archive()
    with pytest.raises(DataError, match=r"its sha256 is [0-9a-f]{64}, expected 0000: not the tested archive$"):
        patched_files(source, "0000")


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "broken.tar.gz"
    path.write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"broken\.tar\.gz: not a source archive of Detectron2: "):
        patched_files(path, digest(path))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.tar\.gz: cannot be read: No such file or directory$"):
        patched_files(tmp_path / "absent.tar.gz", "0000")


def test_a_change_that_does_not_match(archive: Archive, sources: dict[str, str]) -> None:
    sources["detectron2/data/build.py"] = "dtype=np.int, dtype=np.int, dtype=np.int\n"
    source = archive()
    message = (
        r"^detectron2/data/build\.py: patch 'class-histogram' does not match: its text was found 3 times, expected 2"
    )
    with pytest.raises(DataError, match=message):
        patched_files(source, digest(source))


def test_a_file_to_be_changed_is_absent(archive: Archive, sources: dict[str, str]) -> None:
    del sources["detectron2/structures/masks.py"]
    source = archive()
    with pytest.raises(
        DataError, match="patch 'polygon-masks' does not match: the archive has no detectron2/structures"
    ):
        patched_files(source, digest(source))


@pytest.mark.parametrize("name", ["../../outside.py", "detectron2/../../outside.py"])
def test_paths_that_leave_the_package_are_left_out(archive: Archive, sources: dict[str, str], name: str) -> None:
    sources[name] = ""
    files, _ = patched_files(archive(), detectron2_wheel.ARCHIVE_SHA256)
    assert not [path for path in files if "outside" in path]


def test_each_change_is_named_once_and_undoes_what_it_is_for() -> None:
    assert len({patch.name for patch in PATCHES}) == len(PATCHES)
    for file in {patch.file for patch in PATCHES}:
        text = "".join(f"{patch.before}\n" * patch.count for patch in PATCHES if patch.file == file)
        changed, made = patch_text(file, text)
        assert made
        for patch in made:
            assert patch.before not in changed or patch.before in patch.after
    assert patch_text("detectron2/other.py", "np.int") == ("np.int", ())


def test_the_operators_module_is_python() -> None:
    ast.parse(detectron2_wheel._OPERATORS)
