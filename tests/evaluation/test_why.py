"""Every sabotage is named first; healthy runs, weak ones too, raise no alarm."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from cvtune.evaluation.why import explain_run


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("sabotage", Path(__file__).with_name("sabotage.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sabotage"] = module
    spec.loader.exec_module(module)
    return module


sabotage = _load()


@pytest.mark.parametrize("name", sabotage.SABOTAGES)
def test_the_cause_comes_first(name: str, tmp_path: Path) -> None:
    causes = explain_run(sabotage.make_sabotaged(name, tmp_path)).causes
    assert causes, "nothing was seen"
    assert causes[0].rule in sabotage.SABOTAGES[name].rules, [(c.rule, c.certainty, c.seen) for c in causes]


@pytest.mark.parametrize("name", sabotage.HEALTHY)
def test_no_alarm_on_a_healthy_run(name: str, tmp_path: Path) -> None:
    run = sabotage.write_scene(sabotage.make_scene(**sabotage.HEALTHY[name]), tmp_path)
    explanation = explain_run(run)
    assert not explanation.causes, [(c.rule, c.certainty, c.seen) for c in explanation.causes]
    assert explanation.verdict.startswith("Nothing suspicious was seen")
