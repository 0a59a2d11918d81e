"""Evaluation: robustness curves, records with intervals, findings, tables."""

from robustlabels.evaluation import budgets, views
from robustlabels.evaluation.ascended import LOSSES, check_losses
from robustlabels.evaluation.curves import (
    robustness_curve,
    stands,
    worst_case,
    zero_gradients,
)
from robustlabels.evaluation.engine import Attacker, make_attacker
from robustlabels.evaluation.examine import examine
from robustlabels.evaluation.keeper import Keeper
from robustlabels.evaluation.measure import check_epsilons, measure, parse_epsilons
from robustlabels.evaluation.outcome import Outcome, Shown
from robustlabels.evaluation.records import (
    Finding,
    Record,
    interval,
    provenance,
    read_findings,
    read_records,
    write_finding,
    write_record,
)
from robustlabels.evaluation.table import render_table

__all__ = [
    "LOSSES",
    "Attacker",
    "Finding",
    "Keeper",
    "Outcome",
    "Record",
    "Shown",
    "budgets",
    "check_epsilons",
    "check_losses",
    "examine",
    "interval",
    "make_attacker",
    "measure",
    "parse_epsilons",
    "provenance",
    "read_findings",
    "read_records",
    "render_table",
    "robustness_curve",
    "stands",
    "views",
    "worst_case",
    "write_finding",
    "write_record",
    "zero_gradients",
]
