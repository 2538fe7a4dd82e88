"""What is code in a LazyConfig survives JSON and is written as code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.backends.detectron2.lazy.text import config_text, delta_text
from cvtune.backends.detectron2.lazy.values import Code, from_json, imports_of, to_json

NORM = Code("lambda c: Norm(c, mode='N')", (("package.norms", "Norm"),))
OFFICIAL: dict[str, Any] = {
    "model": {
        "_target_": "package.Model",
        "norm": NORM,
        "block": Code("Block", (("package.blocks", "Block"),)),
        "steps": [{"_target_": "package.Resize", "size": [1, 2]}, {"_target_": "package.Flip"}],
        "same": "${.steps}",
    },
    "train": {"seed": None, "rate": 1e-05, "on": True},
}


def test_a_config_comes_back_from_json() -> None:
    assert from_json(json.loads(json.dumps(to_json(OFFICIAL)))) == OFFICIAL
    assert imports_of(OFFICIAL) == {("package.norms", "Norm"), ("package.blocks", "Block")}


def namespace(text: str) -> dict[str, Any]:
    """The assignments of a config, with every import of a class replaced by its name."""
    lines = [line for line in text.splitlines() if not line.startswith(("from ", "#"))]
    found: dict[str, Any] = {"Norm": "a norm", "Block": "a block"}
    exec("\n".join(lines), found)
    return found


def test_the_flat_file_says_what_the_config_holds() -> None:
    text = config_text(OFFICIAL, "a title")
    assert "from package.blocks import Block\nfrom package.norms import Norm\n" in text
    found = namespace(text)
    assert found["model"]["norm"].__name__ == "<lambda>"
    assert found["model"]["block"] == "a block"
    assert found["model"]["steps"] == OFFICIAL["model"]["steps"]
    assert found["train"] == OFFICIAL["train"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("model", "norm", "BN"), "model.norm = 'BN'"),
        (("model", "steps", [{"_target_": "package.Flip"}]), "model.steps = [{'_target_': 'package.Flip'}]"),
        (("train", "rate", 0.1), "train.rate = 0.1"),
        (("train", "on", 1), "train.on = 1"),
        (("train", "period", 3), "train.period = 3"),
    ],
)
def test_the_short_file_has_a_line_for_each_difference(change: tuple[str, str, Any], line: str) -> None:
    section, key, value = change
    text = delta_text("folder/name", OFFICIAL, {**OFFICIAL, section: {**OFFICIAL[section], key: value}})
    assert text.splitlines()[-1] == line
    assert 'get_config("folder/name.py")' in text
    assert "package" not in text.replace(line, "")


def test_the_short_file_reaches_into_lists_and_takes_keys_away() -> None:
    changed = {**OFFICIAL, "train": {"rate": 1e-05, "on": True}}
    steps = [{"_target_": "package.Resize", "size": [3, 2]}, {"_target_": "package.Flip"}]
    changed["model"] = {**OFFICIAL["model"], "steps": steps}
    assert delta_text("n", OFFICIAL, changed).splitlines()[-2:] == ["model.steps[0].size[0] = 3", "del train.seed"]


def test_what_is_neither_data_nor_code_is_refused(tmp_path: Path) -> None:
    from cvtune.backends.detectron2.lazy.reader import plain
    from cvtune.backends.detectron2.probe import install_kernels

    install_kernels()
    with pytest.raises(TypeError, match="cannot be written down"):
        plain({"a": [object()]})
