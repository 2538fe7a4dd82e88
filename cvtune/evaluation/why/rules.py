"""All rules that look at files as they are, in one table each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cvtune.evaluation.why import rules_content, rules_scores, rules_setup, rules_training, rules_truth
from cvtune.evaluation.why.case import Case
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.search import Found
from cvtune.evaluation.why.training import RunRule

__all__ = ["RULES", "RUN_RULES", "Rule"]

Rule = Callable[[Case, Found, Mapping[str, Any]], Cause | None]
"""(case, best reading, the plan's values) -> a cause, or None where nothing is suspicious."""

RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        rules_truth.no_objects,
        rules_truth.orphans,
        rules_truth.masks_from_boxes,
        rules_truth.wrong_image_sizes,
        rules_content.unknown_ids,
        rules_content.unknown_categories,
        rules_content.one_class_for_all,
        rules_content.class_never_predicted,
        rules_content.images_without_predictions,
        rules_content.elsewhere,
        rules_scores.no_predictions,
        rules_scores.score_threshold,
        rules_scores.low_scores,
        rules_scores.constant_scores,
        rules_scores.scores_without_order,
        rules_scores.too_few_detections,
    )
}
"""Rules about predictions and objects; `rules_truth.truth_outside_images` is asked before the others."""

RUN_RULES: Mapping[str, RunRule] = {
    rule.__name__: rule
    for rule in (
        rules_training.learning_rate_too_high,
        rules_training.learning_rate_too_low,
        rules_training.too_few_iterations,
        rules_training.warmup_never_ends,
        rules_training.no_pretrained_weights,
        rules_setup.anchors_miss,
        rules_setup.channel_order,
        rules_setup.image_size_changes,
        rules_setup.leaked,
        rules_setup.nms_switched_off,
    )
}
"""Rules about a run's training."""
