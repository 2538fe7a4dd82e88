"""A LazyConfig as a Python file: flat, or as its differences from the official one."""

from __future__ import annotations

import keyword
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pprint import pformat
from typing import Any

from cvtune.backends.detectron2.lazy.keys import Path
from cvtune.backends.detectron2.lazy.values import imports_of

__all__ = ["config_text", "delta_text"]

_WIDTH = 116


def config_text(config: Mapping[str, Any], title: str) -> str:
    """One assignment a section; needs nothing but Detectron2 where it is loaded."""
    lines = [
        f"# {title} (see overrides.json).",
        "# Accepted by Detectron2 itself: LazyConfig.load(THIS_FILE), tools/lazyconfig_train_net.py --config-file.",
        *_imports(config),
    ]
    sections = [f"{key} = {pformat(value, width=_WIDTH, sort_dicts=False)}" for key, value in config.items()]
    return "\n".join(lines) + "\n\n" + "\n\n".join(sections) + "\n"


def delta_text(name: str, official: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The same config as changes to the official one in the installed package."""
    changes = list(_changes(official, config, ()))
    sections = ", ".join(config)
    lines = [
        f"# The same config as config.py, as its differences from {name}.",
        *_imports([value for _, value, removed in changes if not removed]),
        "from detectron2.model_zoo import get_config",
        "",
        f'_official = get_config("{name}.py")',
        f"{sections} = (_official[key] for key in {list(config)!r})",
        "",
    ]
    for path, value, removed in changes:
        target = _expression(path)
        lines.append(f"del {target}" if removed else f"{target} = {pformat(value, width=_WIDTH, sort_dicts=False)}")
    return "\n".join(lines) + "\n"


def _imports(config: Any) -> list[str]:
    names: dict[str, set[str]] = defaultdict(set)
    for module, name in imports_of(config):
        names[module].add(name)
    return [f"from {module} import {', '.join(sorted(found))}" for module, found in sorted(names.items())]


def _changes(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any, bool]]:
    """(path, new value, whether the key is gone) of each difference; a list of another length is one difference."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before:
            if key not in after:
                yield (*path, key), None, True
        for key, value in after.items():
            if key in before:
                yield from _changes(before[key], value, (*path, key))
            else:
                yield (*path, key), value, False
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, value in enumerate(after):
            yield from _changes(before[index], value, (*path, index))
    elif before != after or type(before) is not type(after):
        yield path, after, False


def _expression(path: Path) -> str:
    """`model.head.norm`, `dataloader.train.mapper.augmentations[0].max_size`."""
    text = str(path[0])
    for step in path[1:]:
        plain = isinstance(step, str) and step.isidentifier() and not keyword.iskeyword(step)
        text += f".{step}" if plain else f"[{step!r}]"
    return text
