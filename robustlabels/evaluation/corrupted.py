"""Accuracy on images under common corruptions, Hendrycks & Dietterich (2019)."""

import functools
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Key

from robustlabels import parallel
from robustlabels._stopping import Stop, never
from robustlabels.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from robustlabels.data import Split, as_float
from robustlabels.evaluation._batchwise import batchwise
from robustlabels.evaluation.programs import correct
from robustlabels.evaluation.records import Finding, provenance
from robustlabels.objective import Classifier

__all__ = ["corrupted"]


def corrupted(
    classifier: Classifier,
    split: Split,
    *,
    key: Key[Array, ""],
    identity: Mapping[str, Any],
    split_name: str = "test",
    mesh: Mesh,
    batch_size: int = 1000,
    stop: Stop = never,
) -> tuple[Finding, dict[str, np.ndarray]]:
    """Accuracy under each of the corruptions at each severity, and the mean of all.

    Args:
      classifier: what is measured, a pytree of arrays.
      split: images and class ids.
      key: example i is corrupted by this key folded with i.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split.
      mesh: the devices that share a batch.
      batch_size: images a call.
      stop: asked before each batch.

    Returns:
      The finding, and of each example in which share of all ways it is decided
      correctly, `right`.

    Raises:
      ValueError: for images that `corruptions.corrupt` refuses.
      Stopped: when asked to stop.
    """
    began = time.monotonic()
    right = {}
    for name in CORRUPTIONS:
        program = jax.jit(parallel.per_example(functools.partial(_right, name), mesh))
        right[name] = [
            batchwise(
                program,
                (classifier, key, np.int32(severity)),
                len(split.labels),
                lambda index: (
                    as_float(split.images[index]),
                    split.labels[index],
                    index,
                ),
                what=f"{name} {severity}",
                mesh=mesh,
                batch_size=batch_size,
                stop=stop,
            )
            for severity in SEVERITIES
        ]
    accuracy = {name: np.mean(flags, axis=1).tolist() for name, flags in right.items()}
    finding = Finding(
        kind="corruptions",
        classifier=dict(identity),
        split=split_name,
        parameters={"severities": list(SEVERITIES)},
        n=len(split.labels),
        values={
            "accuracy": accuracy,
            "mean": float(np.mean(list(accuracy.values()))),
        },
        images=None,
        seconds=time.monotonic() - began,
        provenance=provenance(),
    )
    shares = np.concatenate(list(right.values())).mean(axis=0)
    return finding, {"right": shares.astype(np.float32)}


def _right(name, shared, x, y, index):
    classifier, key, severity = shared
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return correct(classifier, corrupt(name, x, severity=severity, key=keys), y)
