"""The class lock: source category id <-> class index <-> name, fixed once per run and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cvtune.errors import DataError, nearest

__all__ = ["ClassMap", "make_class_map"]

SourceId = int | str


@dataclass(frozen=True)
class ClassMap:
    """An ordered list of classes.

    ``names[i]`` is the name of class index ``i`` (0-based, contiguous) and ``source_ids[i]`` the category id that
    the source annotation file gave it. In the run's canonical data the category id of class ``i`` is ``i + 1``.
    """

    names: tuple[str, ...]
    source_ids: tuple[SourceId, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list, doubled names and doubled ids."""
        if not self.names:
            raise DataError("classes: the list of classes is empty; at least one is needed")
        if len(self.names) != len(self.source_ids):
            raise DataError(f"classes: {len(self.names)} names but {len(self.source_ids)} source ids")
        for what, values in (("name", self.names), ("source id", self.source_ids)):
            doubled = sorted({str(v) for v in values if list(values).count(v) > 1})
            if doubled:
                raise DataError(f"classes: {what} {doubled[0]!r} occurs more than once; each must be unique")

    def __len__(self) -> int:
        """Return the number of classes, background not counted."""
        return len(self.names)

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over the ordered (source id, name) pairs."""
        pairs = list(zip(self.source_ids, self.names, strict=True))
        return hashlib.sha256(json.dumps(pairs, ensure_ascii=False).encode()).hexdigest()[:16]

    @cached_property
    def index_of_name(self) -> Mapping[str, int]:
        """Class name -> class index."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def index_of_source_id(self) -> Mapping[SourceId, int]:
        """Source category id -> class index."""
        return {source_id: i for i, source_id in enumerate(self.source_ids)}

    def check_same(self, other: ClassMap, where: str) -> None:
        """Refuse `other` (found at `where`, such as a checkpoint) unless it is the same lock; both lists are shown."""
        if other.hash != self.hash:
            raise DataError(
                f"{where}: its classes are not this run's; got {other.describe()}, this run has {self.describe()}; "
                "use a checkpoint that was trained with the same classes, in the same order"
            )

    def describe(self) -> str:
        """One line: ``[1=cat, 2=dog] (lock 0123abcd...)``."""
        pairs = ", ".join(f"{i}={n}" for i, n in zip(self.source_ids, self.names, strict=True))
        return f"[{pairs}] (lock {self.hash})"

    def to_json(self) -> dict[str, Any]:
        """What `classes.json` and every checkpoint hold."""
        return {"names": list(self.names), "source_ids": list(self.source_ids), "hash": self.hash}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ClassMap:
        """Read what `to_json` wrote; a hash that does not fit its list is an error."""
        class_map = cls(tuple(record["names"]), tuple(record["source_ids"]))
        if record.get("hash", class_map.hash) != class_map.hash:
            raise DataError(
                f"class lock: hash {record['hash']} does not fit its list, which hashes to {class_map.hash}"
            )
        return class_map


def make_class_map(
    categories: Iterable[tuple[SourceId, str]], wanted: Sequence[str] | None = None
) -> tuple[ClassMap, tuple[str, ...]]:
    """Fix the class lock.

    Args:
        categories: (source category id, name) as the training data lists them.
        wanted: an explicit ordered list of names, or None for the data's own order. It may reorder and drop.

    Returns:
        The lock, and the names that `wanted` drops.

    Raises:
        DataError: a wanted name is not in the data, or two categories share a name.
    """
    listed = list(categories)
    by_name: dict[str, SourceId] = {}
    for source_id, name in listed:
        if name in by_name:
            raise DataError(
                f"categories: {name!r} is the name of both id {by_name[name]!r} and id {source_id!r}; "
                "merge or rename one of them"
            )
        by_name[name] = source_id
    if wanted is None:
        return ClassMap(tuple(by_name), tuple(by_name.values())), ()
    for name in wanted:
        if name not in by_name:
            raise DataError(
                f"data.classes: {name!r} is not in the data; allowed: {', '.join(by_name)}{nearest(name, by_name)}"
            )
    dropped = tuple(name for name in by_name if name not in wanted)
    return ClassMap(tuple(wanted), tuple(by_name[name] for name in wanted)), dropped
