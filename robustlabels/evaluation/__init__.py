"""Evaluation: robustness curves, records with intervals, tables."""

from robustlabels.evaluation import budgets
from robustlabels.evaluation.curves import (
    robustness_curve,
    stands,
    worst_case,
    zero_gradients,
)
from robustlabels.evaluation.measure import check_epsilons, measure, parse_epsilons
from robustlabels.evaluation.records import (
    Record,
    interval,
    provenance,
    read_records,
    write_record,
)
from robustlabels.evaluation.table import render_table

__all__ = [
    "Record",
    "budgets",
    "check_epsilons",
    "interval",
    "measure",
    "parse_epsilons",
    "provenance",
    "read_records",
    "render_table",
    "robustness_curve",
    "stands",
    "worst_case",
    "write_record",
    "zero_gradients",
]
