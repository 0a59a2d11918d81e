"""Evaluation: robustness curves, records with intervals, findings, tables."""

from robustlabels.evaluation import budgets, views
from robustlabels.evaluation.ascended import LOSSES, check_losses
from robustlabels.evaluation.budgets import Attack, Ensemble
from robustlabels.evaluation.curves import (
    robustness_curve,
    stands,
    worst_case,
    zero_gradients,
)
from robustlabels.evaluation.engine import Attacker, make_attacker
from robustlabels.evaluation.examine import examine
from robustlabels.evaluation.keeper import Keeper
from robustlabels.evaluation.measure import (
    budget,
    check_epsilons,
    measure,
    parse_epsilons,
)
from robustlabels.evaluation.outcome import Outcome, Shown
from robustlabels.evaluation.records import (
    Finding,
    Record,
    interval,
    provenance,
    read_arrays,
    read_findings,
    read_records,
    write_finding,
    write_record,
)
from robustlabels.evaluation.table import render_table, render_transfer
from robustlabels.evaluation.transferred import Transfer, craft, transfer_matrix

__all__ = [
    "LOSSES",
    "Attack",
    "Attacker",
    "Ensemble",
    "Finding",
    "Keeper",
    "Outcome",
    "Record",
    "Shown",
    "Transfer",
    "budget",
    "budgets",
    "check_epsilons",
    "check_losses",
    "craft",
    "examine",
    "interval",
    "make_attacker",
    "measure",
    "parse_epsilons",
    "provenance",
    "read_arrays",
    "read_findings",
    "read_records",
    "render_table",
    "render_transfer",
    "robustness_curve",
    "stands",
    "transfer_matrix",
    "views",
    "worst_case",
    "write_finding",
    "write_record",
    "zero_gradients",
]
