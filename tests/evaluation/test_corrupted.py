"""Accuracy under corruptions against the corruptions called by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from robustlabels import corruptions, objective, parallel
from robustlabels.data import Split
from robustlabels.evaluation import corrupted

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 8, 8, 1)).astype(np.uint8)
WEIGHTS = RNG.normal(size=(64, 3)).astype(np.float32)
LABELS = np.argmax((IMAGES.reshape(10, -1) / 255) @ WEIGHTS, axis=1).astype(np.int32)
MODEL = objective.bind(
    objective.softmax().at({}, 1.0),
    Partial(lambda w, x: x.reshape(len(x), -1) @ w, jnp.asarray(WEIGHTS)),
)
FEW = {n: corruptions.CORRUPTIONS[n] for n in ("gaussian_noise", "contrast")}


@pytest.mark.parametrize("batch_size", [4, 1000])
def test_shares_are_those_of_the_corruptions_by_hand(monkeypatch, batch_size):
    monkeypatch.setattr(corrupted, "CORRUPTIONS", FEW)
    finding, arrays = corrupted.corrupted(
        MODEL,
        Split(IMAGES, LABELS),
        key=jax.random.key(1),
        identity={"data": "fake"},
        mesh=parallel.make_mesh(),
        batch_size=batch_size,
    )
    assert (finding.kind, finding.n) == ("corruptions", 10)
    shares, times_right = [], np.zeros(10, int)
    for name in FEW:
        for severity, found in enumerate(finding.values["accuracy"][name], start=1):
            x = corruptions.corrupt(
                name,
                jnp.asarray(IMAGES / np.float32(255)),
                severity=severity,
                key=jax.random.key(1),
            )
            decisions = np.asarray(x).reshape(10, -1) @ WEIGHTS
            right = decisions.argmax(1) == LABELS
            shares.append(np.mean(right))
            times_right += right
            assert found == pytest.approx(shares[-1])
    assert finding.values["mean"] == pytest.approx(np.mean(shares))
    assert min(shares) < 1
    (found,) = arrays.values()
    assert (list(arrays), found.dtype) == (["right"], np.float32)
    np.testing.assert_allclose(found, times_right / len(shares))
    assert np.mean(found) == pytest.approx(finding.values["mean"])
