"""What cvtune sets in the config that MMEngine's Runner is built from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from cvtune.backends.mmdet import runner
from cvtune.backends.mmdet.translate import translate
from cvtune.runs import RunDir


@pytest.mark.parametrize(
    ("changes", "seed"),
    [
        ({"train__recipe": "official", "train__seed": 5}, 5),
        ({"train__recipe": "official"}, 0),  # the official file has none: the Runner would draw one, a resume another
        ({"native": {"randomness": {"seed": 7, "deterministic": True}}}, 7),
    ],
)
def test_a_run_is_seeded_by_its_plan_unless_native_says_otherwise(
    changes: dict[str, Any],
    seed: int,
    plan_for: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_for(model__family="faster_rcnn", data__batch_size=2, **changes)
    run = RunDir(tmp_path)
    (tmp_path / "config.py").write_text(translate(plan).text)
    built: list[Config] = []
    monkeypatch.setattr(runner.Runner, "from_cfg", built.append)
    runner.build_runner(run, Config.fromfile(run.config, import_custom_modules=False), plan.values)
    assert built[0].randomness.seed == seed
    assert built[0].randomness.get("deterministic", False) is bool("native" in changes)
