"""How good is a model, where is it bad, and which of two is better: pure functions of labels, scores and losses.

Nouns: a *metric* (a number with an interval), a *loss* (of one row, in 0..1), a *slice* (named part of the rows), a
*comparison* (of two models on the same rows), a *confidence sequence* (an interval that may be looked at any time) and
a *detector* (of a mean that rose). Start with `measure`; what it is made of is in `metrics` and `intervals`.
Nothing here reads files or knows runs; NumPy is the only package used.
"""

from mainspring.evaluate.compare import Comparison, LabelComparison, Verdict, compare, compare_labels, compare_slices
from mainspring.evaluate.confusion import ClassQuality, Confusion, Threshold, choose_threshold, confusion
from mainspring.evaluate.detector import Evidence, detect, lower_bound
from mainspring.evaluate.losses import LossKind, default_loss, error_bound, loss
from mainspring.evaluate.measure import measure, score
from mainspring.evaluate.sequential import SequentialState
from mainspring.evaluate.slice_search import search_slices
from mainspring.evaluate.slices import Condition, Slice, declared_slices, worst_slice

__all__ = [
    "ClassQuality",
    "Comparison",
    "Condition",
    "Confusion",
    "Evidence",
    "LabelComparison",
    "LossKind",
    "SequentialState",
    "Slice",
    "Threshold",
    "Verdict",
    "choose_threshold",
    "compare",
    "compare_labels",
    "compare_slices",
    "confusion",
    "declared_slices",
    "default_loss",
    "detect",
    "error_bound",
    "loss",
    "lower_bound",
    "measure",
    "score",
    "search_slices",
    "worst_slice",
]
