"""Confidence on classes that were left out of training."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32

from robustlabels._stopping import Stop, never
from robustlabels.data import Split, as_float
from robustlabels.evaluation import calibration
from robustlabels.evaluation._batchwise import batchwise
from robustlabels.evaluation.confidence import answering
from robustlabels.evaluation.records import Finding, provenance
from robustlabels.objective import Classifier

__all__ = ["left_out"]


def left_out(
    classifier: Classifier,
    known: Split,
    unknown: Split,
    *,
    identity: Mapping[str, Any],
    split_name: str = "test",
    mesh: Mesh,
    batch_size: int = 1000,
    stop: Stop = never,
) -> tuple[Finding, dict[str, np.ndarray]]:
    """Whether confidence tells images of known classes from those of unknown ones.

    Args:
      classifier: what is measured, a pytree of arrays.
      known: images of the classes it was trained on.
      unknown: images of others; the finding says which class ids they have.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split.
      mesh: from `parallel.make_mesh`.
      batch_size: images a call.
      stop: asked before each batch.

    Returns:
      The finding, and the confidences by image, `known` and `unknown`.

    Raises:
      ValueError: for an empty split, and for confidences outside of [0, 1].
      Stopped: when asked to stop.

    >>> from robustlabels import objective, parallel
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: x[:, 0, 0])
    >>> images = np.array([[0.9, 0.1], [0.5, 0.4]], np.float32).reshape(2, 1, 1, 2)
    >>> known, unknown = (
    ...     Split(images[i : i + 1], np.array([label], np.int32))
    ...     for i, label in enumerate([0, 7])
    ... )
    >>> finding, confidences = left_out(
    ...     model, known, unknown, identity={}, mesh=parallel.make_mesh()
    ... )
    >>> print(finding.values["auroc"], confidences["unknown"].round(3))
    1.0 [0.525]
    """
    began = time.monotonic()

    def confidences(split: Split, what: str) -> Float32[np.ndarray, " n"]:
        return batchwise(
            answering(mesh),
            classifier,
            len(split.labels),
            lambda index: (as_float(split.images[index]),),
            what=f"deciding {what}",
            mesh=mesh,
            batch_size=batch_size,
            stop=stop,
        )["confidence"]

    sure = confidences(known, "known classes")
    unsure = confidences(unknown, "unknown classes")
    of_known, of_unknown = calibration.spread(sure), calibration.spread(unsure)
    values = {
        "auroc": calibration.auroc(sure, unsure),
        "known_median_confidence": of_known["median_confidence"],
    }
    finding = Finding(
        kind="left_out",
        classifier=dict(identity),
        split=split_name,
        parameters={"classes": np.unique(unknown.labels).tolist()},
        n=len(sure) + len(unsure),
        values=values | of_unknown,
        images=None,
        seconds=time.monotonic() - began,
        provenance=provenance(),
    )
    return finding, {"known": sure, "unknown": unsure}
