"""Reports: any number of run folders side by side as one HTML page."""

from robustlabels.report.page import write_report
from robustlabels.report.runs import Run, find_runs, read_metrics, read_runs
from robustlabels.report.transferred import write_transfer

__all__ = [
    "Run",
    "find_runs",
    "read_metrics",
    "read_runs",
    "write_report",
    "write_transfer",
]
