"""The spec's `native` section, of which each backend reads its own part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends import backend_names
from cvtune.errors import SpecError
from cvtune.spec import Spec

__all__ = ["native_of"]


def native_of(spec: Spec) -> Mapping[str, Any]:
    """The spec's `native`, or its part for the spec's backend where its keys are names of backends.

    Raises:
        SpecError: parts for backends stand beside other keys, or a part is no mapping.
    """
    native = spec.native
    scoped = [key for key in native if key in backend_names()]
    if not scoped:
        return native
    other = [key for key in native if key not in scoped]
    if other:
        raise SpecError(
            f"native: holds parts for backends ({', '.join(scoped)}) and other keys ({', '.join(other)}); "
            f"move those into the part of their backend, such as native.{spec.backend}"
        )
    part = native.get(spec.backend) or {}
    if not isinstance(part, Mapping):
        raise SpecError(f"native.{spec.backend}: got {part!r}; a mapping of keys to values is needed")
    return part
