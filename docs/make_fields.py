"""Write docs/fields.md: every field of a spec, its default, and how it reaches each backend. A test keeps it true.

python docs/make_fields.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from cvtune.backends import BACKENDS, load_backend
from cvtune.spec import Spec

INTRO = """# Fields of a spec

Made by `python docs/make_fields.py` from the code. "left out" as a default means that the model's official recipe
decides; `cvtune plan` shows the value and the reason. How a field reaches the framework: *native*, in its own config
file; *extra*, by code of ours beside it; *no*, an error names what works instead.
"""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted key, default, description) of every field that is not a section."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = _section(field.annotation)
        if inner is not None:
            yield from leaves(inner, f"{key}.")
            continue
        default = "required" if field.is_required() else field.default
        yield key, default, field.description or ""


def _section(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def table() -> str:
    """The page's text."""
    backends = {name: load_backend(name) for name in BACKENDS}
    head = ["field", "default", "what it is", *backends]
    lines = [INTRO, "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for key, default, description in leaves(Spec):
        shown = "left out" if default is None else f"`{_text(default)}`"
        cells = [f"`{key}`", shown, description]
        for backend in backends.values():
            support = backend.fields.get(key)
            cells.append(f"*{support.how}*: {support.mechanism}" if support else "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    Path(__file__).with_name("fields.md").write_text(table(), encoding="utf-8")
