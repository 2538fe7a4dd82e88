"""What the documents say is what the code does."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import yaml

from cvtune.backends import BACKENDS, load_backend
from cvtune.cli import app
from cvtune.data.coco import Dataset
from cvtune.data.formats import FORMATS, load_format
from cvtune.data.receipt import Receipt
from cvtune.errors import UnsupportedError
from cvtune.spec import Spec

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_recipes_is_what_the_frameworks_say(load_script: Callable[[Path], ModuleType]) -> None:
    written = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert load_script(ROOT / "docs/make_recipes.py").table() == written, "run python docs/make_recipes.py"


def test_the_page_of_fields_is_the_code_s(load_script: Callable[[Path], ModuleType]) -> None:
    module = load_script(ROOT / "docs/make_fields.py")
    written = (ROOT / "docs/fields.md").read_text(encoding="utf-8")
    assert module.table() == written, "run python docs/make_fields.py"
    for key, _, _ in module.leaves(Spec):
        for name in BACKENDS:
            assert key in load_backend(name).fields, f"backend {name} does not say how it honours {key}"


def test_the_page_of_formats_has_a_row_for_each_and_says_who_can_be_written() -> None:
    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| yes \| (yes|no) \|", page, flags=re.MULTILINE)
    assert [name for name, _ in rows] == list(FORMATS)
    nothing = Dataset((), (), ())
    for name, written in rows:
        try:
            with tempfile.TemporaryDirectory() as folder:
                load_format(name).write(nothing, Path(folder), Receipt())
        except UnsupportedError:
            assert written == "no", name
        else:
            assert written == "yes", name


def test_the_spec_in_the_readme_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        Spec.model_validate(yaml.safe_load(block))


def test_the_readme_names_every_verb_and_only_those() -> None:
    verbs = {command.name for command in app.registered_commands}
    named = set(re.findall(r"`cvtune ([a-z]+)[ `]", README))
    assert named == verbs


def test_every_path_that_the_readme_names_exists() -> None:
    [section] = re.findall(r"## Where things are\n(.*?)\n## |## Where things are\n(.*)", README, flags=re.DOTALL)
    for path in re.findall(r"`([a-z_]+/[a-z_/.]*|[a-z_]+\.py)`", "".join(section)):
        folders = (ROOT, ROOT / "cvtune", ROOT / "cvtune/data")
        assert any((folder / path).exists() for folder in folders), path
