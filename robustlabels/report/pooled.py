"""Findings of several seeds as one: counts are added, means are weighted by them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from robustlabels.evaluation.records import Finding
from robustlabels.report.formats import Estimate, Number
from robustlabels.report.runs import Sourced

__all__ = ["confusion", "histogram", "medians", "reliability"]


def medians(findings: Iterable[Sourced[Finding]]) -> Estimate | None:
    """The median confidence of each seed."""
    return Estimate.of(f.content.values.get("median_confidence") for f in findings)


def histogram(
    findings: Iterable[Sourced[Finding]],
) -> tuple[list[Number], np.ndarray] | None:
    """Edges and added counts; None where nothing was counted."""
    written = [f.content.values["confidence_histogram"] for f in findings]
    if not written:
        return None
    return written[0]["edges"], np.sum([h["counts"] for h in written], axis=0)


def reliability(findings: Sequence[Sourced[Finding]]) -> dict[str, Any]:
    """Edges, added counts, and means of their examples, NaN where there are none."""
    written = [f.content.values["reliability"] for f in findings]
    counts = np.array([r["counts"] for r in written], float)
    pooled: dict[str, Any] = {
        "edges": written[0]["edges"],
        "counts": counts.sum(axis=0),
    }
    for field in ("confidence", "accuracy"):
        means = np.array([r[field] for r in written], float)
        total = np.nansum(counts * means, axis=0)
        filled = pooled["counts"] > 0
        pooled[field] = np.divide(
            total, pooled["counts"], out=np.full(len(total), np.nan), where=filled
        )
    return pooled


def confusion(findings: Sequence[Sourced[Finding]]) -> np.ndarray:
    """Added counts, rows are true classes."""
    return np.sum([f.content.values["confusion"] for f in findings], axis=0)
