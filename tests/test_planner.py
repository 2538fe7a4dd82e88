"""make_plan: every value and its reason."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from cvtune.backends.base import Host, Recipe
from cvtune.classes import ClassMap
from cvtune.errors import RunError, SpecError
from cvtune.plan import Plan, is_pending
from cvtune.planner import batch_size_candidates, make_plan
from cvtune.spec import Spec

RECIPE = Recipe(
    config="fasterrcnn_resnet50_fpn",
    source="torchvision's reference",
    task="detect",
    dataset_images=117_266,
    values={
        "model.family": "faster_rcnn",
        "model.backbone": "resnet50_fpn",
        "model.frozen_stages": 1,
        "model.norm": "frozen",
        "data.batch_size": 16,
        "data.image_size.short": [800],
        "data.image_size.long": 1333,
        "train.epochs": 26,
        "train.optimizer.name": "sgd",
        "train.optimizer.lr": 0.02,
        "train.optimizer.momentum": 0.9,
        "train.optimizer.weight_decay": 1e-4,
        "train.schedule.name": "multistep",
        "train.schedule.milestones": [16, 22],
        "train.schedule.gamma": 0.1,
        "train.schedule.warmup_iterations": 1000,
        "eval.score_threshold": 0.05,
    },
)
CPU = Host("0.29", "cpu", 1, "CPU", 8 << 30, 8, False, {}, {})
GPU = Host("0.29", "cuda", 2, "a GPU", 80 << 30, 16, True, {}, {})


ADAMW = replace(
    RECIPE,
    values={
        **RECIPE.values,
        "train.optimizer.name": "adamw",
        "train.optimizer.lr": 0.004,
        "train.optimizer.momentum": None,
        "train.optimizer.weight_decay": 0.05,
        "train.schedule.name": "cosine",
        "train.precision": "fp32",
        "eval.every_epochs": 10,
    },
)


def plan_of(
    images: int = 1000,
    host: Host | None = CPU,
    measured: dict[str, Any] | None = None,
    recipe: Recipe = RECIPE,
    **spec: Any,
) -> Plan:
    spec.setdefault("data", {})
    spec["data"].setdefault("train", "a.json")
    full = {"name": "x", "model": {"family": "faster_rcnn"}, **spec}
    data = {"train": {"images": images, "annotations": 5 * images}}
    return make_plan(Spec.model_validate(full), data, ClassMap(("a",), (1,)), recipe, host, measured)


@pytest.mark.parametrize(("images", "passes"), [(100, 50), (205, 50), (400, 50), (1000, 20), (5000, 12), (117_266, 12)])
def test_the_length_rule_counts_samples_within_bounds(images: int, passes: int) -> None:
    assert plan_of(images, data={"batch_size": 8})["train.epochs"] == passes


def test_the_official_recipe_keeps_length_and_lr() -> None:
    plan = plan_of(data={"batch_size": 16}, train={"recipe": "official"}, model={"family": "faster_rcnn"})
    assert plan["train.epochs"] == 26
    assert plan["train.optimizer.lr"] == 0.02
    assert plan["train.schedule.milestones"] == [16, 22]
    assert plan.reasons["train.epochs"].startswith("official")


@pytest.mark.parametrize(
    ("weights", "batch", "accumulate", "lr"),
    [("imagenet", 4, 1, 0.005), ("imagenet", 4, 4, 0.02), ("coco", 4, 1, 0.0025), ("none", 8, 1, 0.01)],
)
def test_lr_auto_scales_by_the_effective_batch(weights: str, batch: int, accumulate: int, lr: float) -> None:
    plan = plan_of(
        model={"family": "faster_rcnn", "weights": weights},
        data={"batch_size": batch},
        train={"accumulate": accumulate},
    )
    assert plan["train.optimizer.lr"] == pytest.approx(lr)


def test_adamw_scales_by_the_square_root() -> None:
    plan = plan_of(
        model={"family": "faster_rcnn", "weights": "imagenet"},
        data={"batch_size": 4},
        train={"optimizer": {"name": "adamw"}},
    )
    assert plan["train.optimizer.lr"] == pytest.approx(1e-4 * math.sqrt(4 / 16))
    assert plan["train.optimizer.momentum"] is None


@pytest.mark.parametrize(
    ("recipe", "name", "expected"),
    [(RECIPE, "adamw", (1e-4, None, 0.05)), (ADAMW, "sgd", (0.02, 0.9, 1e-4)), (ADAMW, None, (0.004, None, 0.05))],
)
def test_another_optimizer_than_the_official_one_has_its_own_usual_values(
    recipe: Recipe, name: str | None, expected: tuple[float, float | None, float]
) -> None:
    train = {"recipe": "official", "optimizer": {"name": name} if name else {}}
    plan = plan_of(recipe=recipe, data={"batch_size": 16}, train=train)
    assert tuple(plan[f"train.optimizer.{key}"] for key in ("lr", "momentum", "weight_decay")) == expected


@pytest.mark.parametrize(
    ("recipe", "train", "fragment"),
    [
        (
            ADAMW,
            {"optimizer": {"momentum": 0.9}},
            r"optimizer\.momentum: got 0\.9, but .* is adamw, .*name: sgd",
        ),
        (ADAMW, {"schedule": {"milestones": [2.0]}}, r"milestones: .*is cosine, as .* has it, .*name: multistep"),
        (ADAMW, {"schedule": {"gamma": 0.5}}, r"train\.schedule\.gamma: got 0\.5, .*name: multistep"),
    ],
)
def test_what_the_official_recipe_has_no_use_for_is_refused(
    recipe: Recipe, train: dict[str, Any], fragment: str
) -> None:
    with pytest.raises(SpecError, match=fragment):
        plan_of(recipe=recipe, data={"batch_size": 16}, train=train)


def test_the_official_recipe_decides_precision_and_evaluation_where_it_is_known() -> None:
    official = plan_of(recipe=ADAMW, host=GPU, data={"batch_size": 16}, train={"recipe": "official"})
    assert (official["train.precision"], official["eval.every_epochs"]) == ("fp32", 10)
    finetune = plan_of(recipe=ADAMW, host=GPU, data={"batch_size": 16})
    assert (finetune["train.precision"], finetune["eval.every_epochs"]) == ("bf16", 1)


def test_a_warm_up_of_official_epochs_counts_epochs_of_this_data() -> None:
    recipe = replace(RECIPE, values={**RECIPE.values, "train.schedule.warmup_epochs": 2})
    plan = plan_of(recipe=recipe, data={"batch_size": 10}, train={"recipe": "official"})
    assert plan["train.schedule.warmup_iterations"] == 200


def test_a_square_fills_as_the_official_one_does_unless_the_spec_says_how() -> None:
    squares = replace(RECIPE, values={**RECIPE.values, "data.image_size.square": 640, "data.image_size.fit": "pad"})
    for size, recipe, fit in (
        ({"square": 320}, squares, "pad"),
        ({"square": 320, "fit": "stretch"}, squares, "stretch"),
        ({"square": 320}, RECIPE, "stretch"),
    ):
        plan = plan_of(recipe=recipe, data={"batch_size": 16, "image_size": size})
        assert plan["data.image_size.fit"] == fit


def test_a_warm_up_does_not_outlast_the_run() -> None:
    plan = plan_of(train={"iterations": 16, "schedule": {"warmup_iterations": 50}})
    assert plan["train.schedule.warmup_iterations"] == 15
    assert plan.reasons["train.schedule.warmup_iterations"] == "the spec's 50 would outlast the 16 steps"


def test_milestones_and_warmup_follow_the_length() -> None:
    plan = plan_of(images=100, data={"batch_size": 10}, train={"epochs": 13})
    assert plan["train.iterations"] == 130
    assert plan["train.schedule.milestones"] == [8, 11]
    assert plan["train.schedule.warmup_iterations"] == 13
    assert "at most a tenth" in plan.reasons["train.schedule.warmup_iterations"]


def test_iterations_decide_the_epochs() -> None:
    plan = plan_of(images=100, data={"batch_size": 8}, train={"iterations": 30})
    assert (plan["train.steps_per_epoch"], plan["train.iterations"], plan["train.epochs"]) == (13, 30, 3)


def test_without_a_look_at_the_machine_values_are_pending_with_their_rule() -> None:
    plan = plan_of(host=None)
    assert {"run.device", "data.batch_size", "train.precision", "train.optimizer.lr"} <= set(plan.pending)
    assert is_pending(plan["train.iterations"])
    with pytest.raises(RunError, match=r"data\.batch_size"):
        plan.require_complete()


def test_a_look_at_the_machine_fills_in_what_was_pending() -> None:
    measured = {"data.batch_size": 8, "reason": "auto: fits"}
    for host, device, precision in ((CPU, "cpu", "fp32"), (GPU, "cuda", "bf16")):
        plan = plan_of(host=host, measured=measured)
        assert plan.pending == ()
        assert (plan["run.device"], plan["train.precision"], plan["data.batch_size"]) == (device, precision, 8)
    assert plan["run.devices"] == 2


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(SpecError, match="sees no CUDA device"):
        plan_of(run={"device": "cuda"}, data={"batch_size": 2})
    with pytest.raises(SpecError, match="this machine has 2"):
        plan_of(host=GPU, run={"devices": 4}, data={"batch_size": 4})


def test_every_value_has_a_reason_and_json_loses_nothing() -> None:
    plan = plan_of(data={"batch_size": 4})
    assert set(plan.values) == set(plan.reasons)
    assert all(plan.reasons.values())
    again = Plan.from_json(plan.to_json())
    assert again.values == plan.values
    assert again.host == plan.host
    assert again.recipe == plan.recipe


def test_norm_is_frozen_for_small_batches_of_models_that_train_it() -> None:
    trains_norm = Recipe(**{**vars(RECIPE), "values": {**RECIPE.values, "model.norm": "batch"}})
    cases = [("imagenet", 4, "frozen"), ("imagenet", 16, "batch"), ("none", 4, "batch")]
    for weights, batch, expected in cases:
        spec = Spec.model_validate(
            {
                "name": "x",
                "model": {"family": "faster_rcnn", "weights": weights},
                "data": {"train": "a.json", "batch_size": batch},
            }
        )
        plan = make_plan(spec, {"train": {"images": 100}}, ClassMap(("a",), (1,)), trains_norm, CPU)
        assert plan["model.norm"] == expected, (weights, batch)


def test_batch_size_candidates_leave_enough_steps() -> None:
    assert batch_size_candidates(16, 205) == [1, 2, 4, 8]
    assert batch_size_candidates(16, 100_000) == [1, 2, 4, 8, 16]
    assert batch_size_candidates(16, 3) == [1]
    assert batch_size_candidates(16, 1000, devices=3) == [3, 6, 12]


def test_a_total_batch_that_does_not_divide_among_processes_is_refused() -> None:
    with pytest.raises(SpecError, match="use a multiple of 2"):
        plan_of(host=GPU, data={"batch_size": 5})


@pytest.mark.parametrize(
    ("train", "warmup", "reason"),
    [
        (
            {"schedule": {"milestones": [0.05]}},
            5,
            "official 1000, but at most what precedes the first milestone, step 6",
        ),
        ({"schedule": {"milestones": [1], "warmup_iterations": 300}}, 124, "the spec's 300 would outlast the first"),
        ({"schedule": {"milestones": [1], "warmup_iterations": 20}}, 20, "spec"),
        ({"iterations": 16, "schedule": {"milestones": [0.05], "warmup_iterations": 50}}, 5, "the spec's 50 would"),
        ({"iterations": 16, "schedule": {"milestones": [9], "warmup_iterations": 50}}, 15, "the spec's 50 would"),
        ({"schedule": {"name": "onecycle"}}, 0, "onecycle rises by itself"),
    ],
)
def test_a_warm_up_is_over_before_the_rate_falls(train: dict[str, Any], warmup: int, reason: str) -> None:
    plan = plan_of(data={"batch_size": 8}, train=train)
    assert plan["train.schedule.warmup_iterations"] == warmup
    assert plan.reasons["train.schedule.warmup_iterations"].startswith(reason)


def test_milestones_are_shares_of_the_steps_that_the_spec_asks_for() -> None:
    plan = plan_of(images=100, data={"batch_size": 8}, train={"iterations": 30})  # 13 steps an epoch
    assert plan["train.schedule.milestones"] == pytest.approx([30 / 13 * 16 / 26, 30 / 13 * 22 / 26], rel=1e-4)
    few = plan_of(images=8000, data={"batch_size": 8}, train={"iterations": 7})
    assert [round(m * 1000) for m in few["train.schedule.milestones"]] == [4, 6]


def test_a_milestone_after_the_end_is_told() -> None:
    plan = plan_of(data={"batch_size": 8}, train={"epochs": 3, "schedule": {"milestones": [2, 8]}})
    assert plan.reasons["train.schedule.milestones"] == "spec: the run ends before the last"


@pytest.mark.parametrize(
    ("period", "train", "every", "reason"),
    [
        (0, {"recipe": "official"}, 0, "official: at the end alone"),
        (500, {"recipe": "official"}, 4, "official: every 500 steps"),
        (0, {"recipe": "official", "early_stopping": {"patience": 2}}, 1, "train.early_stopping needs scores"),
        (0, {"recipe": "official", "epochs": 3}, 1, "cvtune's default"),
        (0, {}, 1, "cvtune's default"),
    ],
)
def test_an_official_evaluation_period_is_planned_as_it_is(
    period: int, train: dict[str, Any], every: int, reason: str
) -> None:
    recipe = replace(RECIPE, values={**RECIPE.values, "train.iterations": 90_000, "eval.every_iterations": period})
    spec = {"name": "x", "model": {"family": "faster_rcnn"}, "data": {"train": "a", "batch_size": 8}, "train": train}
    data = {"train": {"images": 1000, "annotations": 5000}}
    plan = make_plan(Spec.model_validate(spec), data, ClassMap(("a",), (1,)), recipe, CPU)
    assert plan["eval.every_epochs"] == every
    assert plan.reasons["eval.every_epochs"].startswith(reason)


ASKERS: dict[str, tuple[dict[str, Any], dict[str, tuple[str, str]]]] = {
    "the spec": (
        {"data": {"batch_size": 4}, "train": {"epochs": 3, "optimizer": {"lr": 0.01}}},
        {
            "train.optimizer.lr": ("train.optimizer.lr", "spec"),
            "train.epochs": ("train.epochs", "spec"),
            "train.iterations": ("train.epochs", "spec"),
            "train.schedule.milestones": ("train.epochs", "spec"),
            "data.batch_size": ("data.batch_size", "spec"),
        },
    ),
    "iterations": (
        {"data": {"batch_size": 4}, "train": {"iterations": 90}},
        {
            "train.epochs": ("train.iterations", "spec"),
            "train.schedule.milestones": ("train.iterations", "spec"),
            "train.schedule.warmup_iterations": ("train.schedule.warmup_iterations", "data"),
        },
    ),
    "the recipe": (
        {"data": {"batch_size": 4}, "model": {"family": "faster_rcnn", "weights": "coco"}},
        {"train.iterations": ("train.recipe", "spec"), "train.optimizer.lr": ("train.recipe", "spec")},
    ),
    "random weights": (
        {"data": {"batch_size": 4}, "model": {"family": "faster_rcnn", "weights": "none"}},
        {"model.frozen_stages": ("model.weights", "spec"), "train.optimizer.lr": ("data.batch_size", "spec")},
    ),
    "another optimizer": (
        {
            "data": {"batch_size": 4},
            "model": {"family": "faster_rcnn", "weights": "none"},
            "train": {"optimizer": {"name": "adamw"}, "schedule": {"name": "onecycle"}},
        },
        {
            "train.optimizer.lr": ("train.optimizer.name", "spec"),
            "train.optimizer.weight_decay": ("train.optimizer.name", "spec"),
            "train.schedule.milestones": ("train.schedule.name", "spec"),
            "train.schedule.warmup_iterations": ("train.schedule.name", "spec"),
        },
    ),
    "the machine": (
        {"measured": {"data.batch_size": 2, "reason": "tried"}, "model": {"family": "faster_rcnn", "weights": "none"}},
        {
            "run.device": ("run.device", "host"),
            "data.workers": ("data.workers", "host"),
            "data.batch_size": ("data.batch_size", "host"),
            "train.optimizer.lr": ("data.batch_size", "host"),
            "train.precision": ("train.precision", "host"),
            "data.classes": ("data.classes", "data"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ASKERS)
def test_who_is_behind_a_value(case: str) -> None:
    spec, expected = ASKERS[case]
    plan = plan_of(**spec)
    assert {key: plan.asked_by(key) for key in expected} == expected
    assert Plan.from_json(plan.to_json()).askers == plan.askers
