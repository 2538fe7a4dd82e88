"""Plan: every setting of a run with its reason. Nothing is "auto" any more; what needs the machine may be pending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cvtune.backends.base import Host, Recipe
from cvtune.classes import ClassMap
from cvtune.errors import RunError

__all__ = ["Asker", "Plan", "is_pending", "pending"]

Asker = tuple[str, Literal["spec", "data", "host"]]
"""The spec field behind a value, and whether the spec, the data or the machine decided it."""


def pending(rule: str) -> dict[str, str]:
    """A value that the worker fills in after it has seen the machine, and the rule it will follow."""
    return {"pending": "probe", "rule": rule}


def is_pending(value: Any) -> bool:
    """Whether `value` was made by `pending`."""
    return isinstance(value, Mapping) and value.get("pending") == "probe"


@dataclass(frozen=True)
class Plan:
    """Settings by dotted key, equal to the spec's keys, each with the reason for its value.

    `data` maps a split (train, val, test) to the summary of its canonical data. `askers` holds who is behind a value
    that the spec's field of that key does not give.
    """

    values: Mapping[str, Any]
    reasons: Mapping[str, str]
    class_map: ClassMap
    data: Mapping[str, Mapping[str, Any]]
    recipe: Recipe
    host: Host | None
    askers: Mapping[str, Asker] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        """Return the value of a dotted key, such as ``plan["train.optimizer.lr"]``."""
        return self.values[key]

    def get(self, key: str, default: Any = None) -> Any:
        """`values.get`."""
        return self.values.get(key, default)

    def asked(self, key: str) -> bool:
        """Whether the spec itself gives this value; its reason is "spec", or "spec: " and a remark."""
        return self.reasons.get(key, "").split(":")[0] == "spec"

    def asked_by(self, key: str) -> Asker:
        """The spec field behind a value that is not the official one, and who decided it."""
        return self.askers.get(key, (key, "spec"))

    def recipe_is_official(self, key: str) -> bool:
        """Whether the official recipe decides this key: it was asked for, and the spec does not say otherwise."""
        return bool(self.values["train.recipe"] == "official") and not self.asked(key)

    @property
    def pending(self) -> tuple[str, ...]:
        """Keys whose values wait for the machine."""
        return tuple(key for key, value in self.values.items() if is_pending(value))

    def require_complete(self) -> None:
        """Raise RunError where a value is pending: such a plan cannot be translated."""
        if self.pending:
            raise RunError(
                f"plan: {', '.join(self.pending)} wait for a look at the machine; "
                "run `cvtune backends` once, then plan again"
            )

    def to_json(self) -> dict[str, Any]:
        """What `plan.json` holds."""
        return {
            "values": {key: self._entry(key) for key in self.values},
            "classes": self.class_map.to_json(),
            "data": {split: dict(summary) for split, summary in self.data.items()},
            "recipe": self.recipe.to_json(),
            "host": self.host.to_json() if self.host else None,
        }

    def _entry(self, key: str) -> dict[str, Any]:
        entry = {"value": self.values[key], "reason": self.reasons[key]}
        return entry | ({"asked_by": list(self.askers[key])} if key in self.askers else {})

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote."""
        return cls(
            values={key: entry["value"] for key, entry in record["values"].items()},
            reasons={key: entry["reason"] for key, entry in record["values"].items()},
            class_map=ClassMap.from_json(record["classes"]),
            data=record["data"],
            recipe=Recipe.from_json(record["recipe"]),
            host=Host.from_json(record["host"]) if record["host"] else None,
            askers={key: tuple(e["asked_by"]) for key, e in record["values"].items() if "asked_by" in e},
        )
