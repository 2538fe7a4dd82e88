"""Every reader against damaged files: only an error of cvtune's own, of one line, may come out."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.formats import FORMATS, ReadSource, load_format
from cvtune.data.geometry import mask_to_rle
from cvtune.data.receipt import Receipt
from cvtune.errors import CvtuneError, UnsupportedError

# What replaces bytes: numbers that are none, too large or negative, other types, encodings, cuts of strings.
TOKENS = [
    b"NaN", b"Infinity", b"-1e999", b"1e400", b"-7", b"99999999999999999999", b"null", b"{}", b"[]", b'"', b"true",
    b"\xff\xfe", b"\x00", b"\xe9", b"\r", b"\r\n", b",", b"<", b">", b"&amp;", b"]]", b"}", b"-", b".", b" ",
    b"\\ud800", "\u2028".encode(), b"..", b"/", b"#",
]  # fmt: skip
# Read-only formats have no writer to make a sample with.
HAND_MADE = {
    "labelme3": {
        "a.xml": "<annotation><filename>a.jpg</filename><imagesize><nrows>8</nrows><ncols>9</ncols></imagesize>"
        "<object><name>x</name><id>0</id><attributes>rotation=9</attributes><type>bounding_box</type><polygon>"
        "<pt><x>1</x><y>1</y></pt><pt><x>5</x><y>1</y></pt><pt><x>5</x><y>6</y></pt></polygon></object></annotation>"
    },
}


def sample() -> Dataset:
    mask = np.zeros((8, 9), np.bool_)
    mask[2:5, 3:7] = True
    polygon = np.array([1.0, 1, 6.5, 1, 6, 7])
    annotations = (
        Annotation(1, 1, 1, (1, 2, 3, 4), 12),
        Annotation(2, 1, 2, (1, 1, 5.5, 6), 16, segmentation=(polygon,)),
        Annotation(3, 1, 2, (3, 2, 4, 3), 12, True, mask_to_rle(mask)),
    )
    return Dataset((Image(1, "a.jpg", 9, 8),), annotations, (Category(1, "x"), Category(2, "y")))


def made(name: str, folder: Path) -> list[Path]:
    """A small set of a format with its image; its annotation files."""
    Pillow.new("RGB", (9, 8)).save(folder / "a.jpg")
    if name in HAND_MADE:
        for file, text in HAND_MADE[name].items():
            (folder / file).write_text(text)
        return [folder / file for file in HAND_MADE[name]]
    try:
        return [file for file in load_format(name).write(sample(), folder, Receipt()) if file.suffix != ".png"]
    except UnsupportedError:
        return []


@pytest.fixture(scope="module", params=list(FORMATS))
def damaged(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path, dict[Path, bytes]]]:
    folder = Path(tempfile.mkdtemp())
    files = made(request.param, folder)
    yield request.param, folder, {file: file.read_bytes() for file in files}
    shutil.rmtree(folder)


def damage_and_read(name: str, folder: Path, originals: dict[Path, bytes], data: st.DataObject) -> None:
    """Damage one file of a set and read it: only an error of cvtune's own, of one line, may come out."""
    file = data.draw(st.sampled_from(sorted(originals)))
    content = originals[file]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        length = data.draw(st.sampled_from([0, 1, 1, 2, 5, 1000]))
        token = data.draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3)))
        content = content[:at] + token + content[at + length :]
    for path, original in originals.items():
        path.write_bytes(content if path == file else original)
    module = load_format(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        for source in (folder, file):
            assert module.detect(source) is None or isinstance(module.detect(source), str)
        sources = [ReadSource(folder), ReadSource(file)]
        with contextlib.suppress(CvtuneError):
            sources += [ReadSource(folder, subset=part) for part in module.subsets(folder)]
        for source in sources:
            receipt = Receipt()
            try:
                dataset = module.read(source, receipt)
            except CvtuneError as error:
                lines = str(error).split("\n")
                dataset = None
            if dataset is None:
                assert len(lines) == 1
                continue
            names = {category.id: category.name for category in dataset.categories}
            receipt.count_out(len(dataset.images), Counter(names[a.category_id] for a in dataset.annotations))
            receipt.check_sums()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_only_cvtunes_errors_come_out(damaged: tuple[str, Path, dict[Path, bytes]], data: st.DataObject) -> None:
    name, folder, originals = damaged
    if originals:
        damage_and_read(name, folder, originals, data)


@pytest.mark.parametrize("name", FORMATS)
def test_every_cut_of_a_small_file_is_survived(name: str, tmp_path: Path) -> None:
    for file in made(name, tmp_path)[:1]:
        content = file.read_bytes()
        for length in range(0, len(content), max(1, len(content) // 150)):
            file.write_bytes(content[:length])
            with contextlib.suppress(CvtuneError):
                load_format(name).read(ReadSource(file), Receipt())
