"""Why a score is low: readings of the predictions that score better, and rules about predictions, data and training."""

from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.explain import Explanation, explain, explain_run
from cvtune.evaluation.why.table import explanation_table

__all__ = ["Cause", "Explanation", "explain", "explain_run", "explanation_table"]
