"""report.md: escaping, and the short form of a run."""

from __future__ import annotations

from typing import Any

import pytest

from cvtune.report.facts import read_facts
from cvtune.report.markdown import code, plain, run_markdown
from cvtune.runs import read_json, write_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>", "&lt;script&gt;"),
        ("a|b", "a\\|b"),
        ("a\nb", "a b"),
        ("[x](http://e)", "\\[x\\](http:\u2060//e)"),
        ("@someone", "@\u2060someone"),
        ("#12", "#\u206012"),
        ("www.example.org", "www\u2060.example.org"),
        ("*b* `c` \\ $m$ ~~s~~", "\\*b\\* \\`c\\` \\\\ \\$m\\$ \\~\\~s\\~\\~"),
        ("resnet50_fpn", "resnet50_fpn"),
        ("_a_ __b__", "\\_a\\_ \\_\\_b\\_\\_"),
        ("&lt;", "&amp;lt;"),
    ],
)
def test_plain(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("a|b", "`a\\|b`"), ("a`b", "`a'b`"), ("<b>", "`<b>`"), ("\n", "")])
def test_code(text: str, expected: str) -> None:
    assert code(text) == expected


def table(markdown: str, title: str) -> list[list[str]]:
    lines = markdown.split(f"### {title}")[1].split("\n\n")[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_a_run_in_short(make_run: Any) -> None:
    markdown = run_markdown(read_facts(make_run(masks=True)))
    assert markdown.startswith("## discs\n\n**Mask AP 49.8 (AP50 79.8), box AP")
    assert "> This split also chose the checkpoint" in markdown
    scores = table(markdown, "Scores (× 100)")
    assert scores[0][:3] == ["", "Box", "Mask"]
    assert scores[1] == ["---", "---:", "---:", "---"]
    assert scores[2] == ["AP", "49.8", "49.8", "mean over IoU 0.50 to 0.95"]
    assert scores[5][:3] == ["APs", "–", "–"]
    assert len(scores) == 14
    assert table(markdown, "Classes")[3] == ["`blue disc`", "11", "20", "39.8", "49.8", "39.8", "49.8"]
    assert ["`train.epochs`", "`4`"] in table(markdown, "Asked for in the spec")
    assert table(markdown, "What differs from the official config")[2] == [
        "`optimizer.lr`",
        "`0.02`",
        "`0.01`",
        "train.optimizer.lr",
    ]
    assert "| 2 | drop | `box-zero-area` | The box has no area in the file. |" in markdown
    assert "```sh\ncvtune train configs/discs.yaml -s train.epochs=4\n```" in markdown
    assert "data:image" not in markdown


def test_every_row_of_a_table_has_the_same_cells(make_run: Any) -> None:
    run = make_run(names=("a|b", "c\n| d"))
    for line in run_markdown(read_facts(run)).splitlines():
        if line.startswith("|"):
            assert "\n" not in line
    cells = {row.count(" | ") for row in run_markdown(read_facts(run)).splitlines() if row.startswith("| `")}
    assert cells
    classes = table(run_markdown(read_facts(run)), "Classes")
    assert [row[0] for row in classes[2:]] == ["`a\\|b`", "`c \\| d`"] or len({len(row) for row in classes}) == 1


def test_a_command_cannot_leave_its_block(make_run: Any) -> None:
    run = make_run()
    write_json(run.record, read_json(run.record) | {"command": "cvtune ```\n# loud ````"})
    assert "`````sh\ncvtune ``` # loud ````\n`````" in run_markdown(read_facts(run))


def test_many_classes_are_cut(make_run: Any) -> None:
    run = make_run()
    metrics = read_json(run.metrics)
    entry = metrics["bbox"]["per_class"]["red disc"]
    metrics["bbox"]["per_class"] = {f"class {i}": entry | {"ground_truth": i} for i in range(1203)}
    write_json(run.metrics, metrics)
    markdown = run_markdown(read_facts(run))
    assert "1163 more classes are in metrics.json." in markdown
    assert len(markdown) < 20_000
