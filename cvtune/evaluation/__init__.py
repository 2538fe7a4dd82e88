"""COCO scores: hotcoco is the engine, pycocotools the reference that it is checked against. Needs no torch."""

from cvtune.evaluation.run_scores import evaluate_run
from cvtune.evaluation.scoring import Scorer, evaluate, evaluate_canonical

__all__ = ["Scorer", "evaluate", "evaluate_canonical", "evaluate_run"]
