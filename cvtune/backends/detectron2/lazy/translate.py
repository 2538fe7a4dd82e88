"""Plan -> config.py: an official LazyConfig with the fewest overrides, written flat, and short beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.base import NativeConfig
from cvtune.backends.detectron2.lazy.native import merge_native
from cvtune.backends.detectron2.lazy.text import config_text, delta_text
from cvtune.backends.detectron2.lazy.translate_data import translate_data
from cvtune.backends.detectron2.lazy.translate_model import translate_model
from cvtune.backends.detectron2.lazy.translate_schedule import translate_schedule
from cvtune.backends.detectron2.models import Model
from cvtune.backends.detectron2.zoo import read_official
from cvtune.backends.edits import Edits
from cvtune.plan import Plan

__all__ = ["translate_lazy"]


def translate_lazy(
    plan: Plan, model: Model, weights: Mapping[str, Any], extras: dict[str, dict[str, Any]]
) -> NativeConfig:
    """The native file of a plan whose official config is a LazyConfig; `extras` are those that every config has.

    Raises:
        UnsupportedError: this config cannot do what a field asks.
        SpecError: `native` holds a key that there is none of.
    """
    official = read_official(model.config).content
    edits = Edits(official)
    translate_model(edits, plan, model, weights)
    translate_data(edits, plan)
    extras |= translate_schedule(edits, plan)
    merge_native(edits, plan.get("native") or {})
    overrides, merged = edits.overrides, edits.config
    title = f"Detectron2 LazyConfig of `{plan['name']}`: {model.config} with {len(overrides)} overrides"
    return NativeConfig(
        "config.py", config_text(merged, title), overrides, extras, delta_text(model.config, official, merged)
    )
