"""The user's question: which label, which loss, on these data, and does it survive?

A comparison is a grid of ordinary runs, and what is computed from their folders.
"""

from robustlabels.comparison.assembly import Place, tabulate
from robustlabels.comparison.exports import (
    from_json,
    to_csv,
    to_json,
    to_markdown,
    to_text,
)
from robustlabels.comparison.settings import Comparison, read
from robustlabels.comparison.table import Entry, Question, Table
from robustlabels.comparison.work import compare, read_table, write_table

__all__ = [
    "Comparison",
    "Entry",
    "Place",
    "Question",
    "Table",
    "compare",
    "from_json",
    "read",
    "read_table",
    "tabulate",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_text",
    "write_table",
]
