"""The pattern of usual VOC objects: it reads what a parser of XML reads, or leaves the file to the parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvtune.data.formats import voc_xml
from cvtune.data.formats.voc_pattern import match_file
from cvtune.data.formats.voc_xml import find_layout, read_voc_files
from cvtune.errors import DataError

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40.5</ymax></bndbox>"
PLAIN = f"<object><name>cat</name><pose>Left</pose><truncated>0</truncated><difficult>1</difficult>{BOX}</object>"
BARE = f"<object><name> dog </name>{BOX}</object>"
SPACED = PLAIN.replace("><", ">\n\t<")
TURNED = f"<object>{BOX}<name>cat</name></object>"
HEAD = "<filename>a.jpg</filename><size><width>100</width><height>80</height></size>"

# Body of <annotation> -> whether the pattern takes the objects out.
CASES = {
    "usual": (HEAD + PLAIN + BARE + SPACED, True),
    "other order": (HEAD + TURNED, False),
    "some in another order": (HEAD + PLAIN + TURNED, False),
    "comment around one": (HEAD + PLAIN + f"<!-- {PLAIN} -->", False),
    "comment within one": (HEAD + PLAIN.replace(">cat<", ">c<!-- o -->at<"), False),
    "cdata around one": (HEAD + f"<note><![CDATA[{PLAIN}]]></note>" + BARE, False),
    "one within another": (HEAD + f"<object><name>x</name>{PLAIN}{BOX}</object>", False),
    "one within a part": (HEAD + f"<group>{PLAIN}</group>" + BARE, False),
    "an entity": (HEAD + PLAIN.replace(">cat<", ">cat &amp; dog<"), False),
    "an empty object": (HEAD + PLAIN + "<object/>", False),
    "an attribute": (HEAD + PLAIN.replace("<object>", "<object id='1'>"), False),
    "no number": (HEAD + PLAIN.replace("40.5", "4.0.5"), False),
    "negative": (HEAD + PLAIN.replace("<xmin>1", "<xmin>-1"), False),
    "not finite": (HEAD + PLAIN.replace("40.5", "nan"), False),
    "no object": (HEAD, False),
    "unclosed": (HEAD + PLAIN + "<size>", False),
    "unicode": (HEAD + PLAIN.replace(">cat<", ">кот 猫<"), True),
    "objects before the head": (PLAIN + HEAD, False),
    "a tag twice": (HEAD + HEAD + PLAIN, False),
    "an unknown tag": (HEAD + "<note>x</note>" + PLAIN, False),
    "no head": (PLAIN, True),
}


def read(folder: Path, content: bytes) -> object:
    (folder / "a.xml").write_bytes(content)
    try:
        return read_voc_files(find_layout(folder))
    except DataError as error:
        return str(error)


def parsed(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patch:
        patch.setattr(voc_xml, "match_file", lambda content: None)
        return read(folder, content)


@pytest.mark.parametrize(("body", "taken"), CASES.values(), ids=CASES)
def test_the_pattern_reads_what_the_parser_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, taken: bool
) -> None:
    content = f"<annotation>{body}</annotation>".encode()
    assert read(tmp_path, content) == parsed(tmp_path, content, monkeypatch)
    assert (voc_xml._matched(content) is not None) == taken


@pytest.mark.parametrize(
    "head", ['<?xml version="1.0" encoding="latin-1"?>', "<!DOCTYPE x>", "\ufeff", '<?xml version="1.0"?>']
)
def test_prologues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    content = (head + f"<annotation>{HEAD}{PLAIN}</annotation>").encode()
    assert read(tmp_path, content) == parsed(tmp_path, content, monkeypatch)


def test_other_roots_and_encodings_are_left_to_the_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (
        f"<annotations>{HEAD}{PLAIN}</annotations>".encode(),
        f"<annotation><imagesize/>{PLAIN}</annotation>".encode(),
        f'<?xml version="1.0" encoding="utf-16"?><annotation>{HEAD}{PLAIN}</annotation>'.encode("utf-16"),
        f"<annotation>{HEAD}{PLAIN.replace('>cat<', '>café<')}</annotation>".encode("latin-1"),
    ):
        assert read(tmp_path, content) == parsed(tmp_path, content, monkeypatch)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_seen_by_both_or_by_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    content = f"<annotation>{HEAD}{PLAIN}{SPACED}{BARE}</annotation>"
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 60)))
    pieces = ["", "<", ">", "&", "<object>", "</object>", "<object/>", "0", " ", "<name>x</name>", "\x0b", "\x1f"]
    piece = data.draw(st.sampled_from(pieces))
    damaged = (content[:start] + piece + content[stop:]).encode()
    assert read(tmp_path, damaged) == parsed(tmp_path, damaged, monkeypatch)


def test_columns_and_what_is_said_of_the_image() -> None:
    found = match_file(f"<annotation>{HEAD}{BARE}{PLAIN}</annotation>".encode())
    assert found is not None
    said, columns = found
    assert {key: value for key, value in said.items() if value} == {
        "filename": "a.jpg",
        "width": "100",
        "height": "80",
    }
    assert columns == [
        [" dog ", "cat"], [None, "Left"], [None, "0"], [None, "1"], [None, None],
        ["1", "1"], ["2", "2"], ["30", "30"], ["40.5", "40.5"],
    ]  # fmt: skip


LABELIMG = """<?xml version="1.0" encoding="utf-8"?>
<annotation verified="yes">
	<folder>x</folder>
	<filename>a.jpg</filename>
	<path>/home/x/a.jpg</path>
	<source>
		<database>Unknown</database>
	</source>
	<size>
		<width>100</width>
		<height>80</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	%s
</annotation>
"""
DEVKIT = (
    "<annotation><folder>VOC2007</folder><filename>a.jpg</filename><source><database>The VOC2007 Database</database>"
    "<annotation>PASCAL VOC2007</annotation><image>flickr</image><flickrid>1</flickrid></source><owner><flickrid>x"
    "</flickrid><name>y</name></owner><size><width>100</width><height>80</height><depth>3</depth></size>"
    "<segmented>0</segmented>%s</annotation>"
)


@pytest.mark.parametrize("text", [LABELIMG, DEVKIT, LABELIMG.replace("\n", "\r\n")])
def test_files_of_labelimg_and_of_the_devkit_are_matched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    content = (text % (SPACED + BARE)).encode()
    assert match_file(content) is not None
    assert read(tmp_path, content) == parsed(tmp_path, content, monkeypatch)
