"""The scripts that download public sets, against a local server with small archives of the same layout."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import load_coco

FOLDER = Path(__file__).resolve().parent.parent / "datasets"
VOC = (
    "<annotation><filename>{stem}.jpg</filename><size><width>20</width><height>10</height></size><object>"
    "<name>RBC</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def script(name: str) -> Any:
    """A module of the folder, which is no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(address, folder that it serves)."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}", folder
        http.shutdown()


def picture(size: tuple[int, int] = (20, 10), kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Pillow.new("RGB", size).save(stream, kind)
    return stream.getvalue()


def mask() -> bytes:
    values = np.zeros((10, 20), np.uint8)
    values[1:4, 2:6], values[5:9, 10:15] = 1, 2
    stream = io.BytesIO()
    Pillow.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def zipped(files: dict[str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def devkit(root: str, lists: dict[str, str]) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {f"{root}/ImageSets/Main/{name}.txt": text for name, text in lists.items()}
    for stem in "".join(lists.values()).split():
        files |= {f"{root}/Annotations/{stem}.xml": VOC.format(stem=stem), f"{root}/JPEGImages/{stem}.jpg": picture()}
    return files


VIA = (
    '{{"{name}1": {{"filename": "{name}", "size": 1, "fileref": "", "base64_img_data": "", "file_attributes": {{}}, '
    '"regions": {{"0": {{"shape_attributes": {{"name": "polygon", "all_points_x": [1, 9, 9], '
    '"all_points_y": [1, 1, 8]}}, "region_attributes": {{}}}}}}}}}}'
)  # fmt: skip
BALLOON: dict[str, bytes | str] = {}
for part in ("train", "val"):
    BALLOON |= {f"balloon/{part}/via_region_data.json": VIA.format(name="a.jpg"), f"balloon/{part}/a.jpg": picture()}

MADE: dict[str, tuple[list[bytes], dict[str, tuple[int, int, list[str]]]]] = {
    "bccd": (
        [zipped(devkit("BCCD_Dataset-master/BCCD", {"train": "a\nb\n", "val": "c\n", "test": "d\n"}))],
        {"train.json": (2, 2, ["RBC"]), "val.json": (1, 1, ["RBC"]), "test.json": (1, 1, ["RBC"])},
    ),
    "voc2007": (
        [
            tarred(devkit("VOCdevkit/VOC2007", {"train": "a\n", "val": "b\n"})),
            tarred(devkit("VOCdevkit/VOC2007", {"test": "c\n"})),
        ],
        {"train.json": (1, 1, ["RBC"]), "val.json": (1, 1, ["RBC"]), "test.json": (1, 1, ["RBC"])},
    ),
    "balloon": (
        [zipped(BALLOON)],
        {"train/annotations.json": (1, 1, ["balloon"]), "val/annotations.json": (1, 1, ["balloon"])},
    ),
    "pennfudan": (
        [zipped({"PennFudanPed/PedMasks/A1_mask.png": mask(), "PennFudanPed/PNGImages/A1.png": picture(kind="PNG")})],
        {"annotations.json": (1, 2, ["person"])},
    ),
    "coco128": (
        [
            zipped(
                {
                    "coco128/images/train2017/1.jpg": picture(),
                    "coco128/labels/train2017/1.txt": "0 0.5 0.5 0.2 0.2\n79 0.2 0.2 0.2 0.2\n",
                }
            )
        ],
        {"annotations.json": (1, 2, ["person", "toothbrush"])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_set_is_downloaded_and_converted(name: str, server: tuple[str, Path], tmp_path: Path) -> None:
    (address, web), (contents, expected) = server, MADE[name]
    module, fetch = script(name), script("fetch")
    archives = []
    for given, content in zip(module.ARCHIVES, contents, strict=True):
        (web / given.name).write_bytes(content)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        archives.append(fetch.Archive(f"{address}/{given.name}", digest))
    out = tmp_path / "out"
    module.make(out, archives)
    for file, (images, objects, classes) in expected.items():
        dataset = load_coco(out / file)
        assert (len(dataset.images), len(dataset.annotations)) == (images, objects)
        used = {annotation.category_id for annotation in dataset.annotations}
        assert [category.name for category in dataset.categories if category.id in used] == classes
        assert name in {"balloon", "pennfudan"} or all(image.path is not None for image in dataset.images)
    # A second time nothing is downloaded.
    for path in web.iterdir():
        path.unlink()
    module.make(out, archives)


def test_a_wrong_hash_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    address, web = server
    (web / "a.zip").write_bytes(b"x")
    fetch = script("fetch")
    with pytest.raises(SystemExit, match=r"error: http.*a\.zip: its hash is sha256:2d71.*, not sha256:00"):
        fetch.fetch(fetch.Archive(f"{address}/a.zip", "sha256:00"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_hash_that_nobody_states_is_kept(
    server: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], by_hand: bool
) -> None:
    address, web = server
    (web / "a.zip").write_bytes(b"x")
    fetch = script("fetch")
    archive = fetch.Archive(f"{address}/a.zip")
    if by_hand:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.zip").write_bytes(b"x")
    path = fetch.fetch(archive, tmp_path / "out")
    assert "states no hash, so this first download is taken as it is" in capsys.readouterr().out
    assert fetch.fetch(archive, tmp_path / "out") == path
    path.unlink()
    (web / "a.zip").write_bytes(b"y")
    with pytest.raises(SystemExit, match="it was changed or cut short"):
        fetch.fetch(archive, tmp_path / "out")
    assert not path.exists()
    path.write_bytes(b"y")
    with pytest.raises(SystemExit, match="delete it to download it again"):
        fetch.fetch(archive, tmp_path / "out")


def test_what_is_not_there_is_one_line(server: tuple[str, Path], tmp_path: Path) -> None:
    fetch = script("fetch")
    with pytest.raises(SystemExit, match=r"error: http.*none\.zip: cannot be downloaded: .*404"):
        fetch.fetch(fetch.Archive(f"{server[0]}/none.zip"), tmp_path)


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt"])
def test_archives_never_leave_their_folder(name: str, tmp_path: Path) -> None:
    fetch = script("fetch")
    for suffix, content in (("zip", zipped({name: "x"})), ("tar", tarred({name: "x"}))):
        (tmp_path / f"a.{suffix}").write_bytes(content)
        with contextlib.suppress(SystemExit, tarfile.TarError):
            fetch.unpack(tmp_path / f"a.{suffix}", tmp_path / "deep" / "in")
        inside = tmp_path / "deep" / "in"
        outside = [p for p in (tmp_path / "deep").rglob("*") if p.is_file() and not p.is_relative_to(inside)]
        assert outside == []
    assert not (tmp_path / "out.txt").exists()
