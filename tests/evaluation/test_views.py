"""Views of a net against NumPy, and t-SNE of clusters that are far apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels import analysis, data, models, objective, parallel
from robustlabels._stopping import Stopped
from robustlabels.evaluation import views

RNG = np.random.default_rng(0)
CODEBOOK = RNG.uniform(0, 8, (3, 4)).astype(np.float32)
W = RNG.normal(size=(9, 4)).astype(np.float32)
SPLIT = data.Split(
    RNG.integers(0, 256, (23, 3, 3, 1)).astype(np.uint8),
    RNG.integers(0, 3, 23).astype(np.int32),
)


def predict(x):
    return 4 + x.reshape(len(x), -1) @ W, {"pixels": x}


def looked_at(split, **options):
    regression = objective.label_regression(CODEBOOK).at({}, 1.0)
    classifier = objective.bind(regression, lambda x: predict(x)[0])
    given = {"identity": {"seed": 0}, "mesh": parallel.make_mesh(), **options}
    return views.outputs(predict, classifier, split, **given)


@pytest.mark.parametrize("batch_size", [1000, 6])
def test_outputs_and_their_acceptance_are_those_of_numpy(batch_size):
    finding, arrays = looked_at(SPLIT, threshold=1.5, shown=5, batch_size=batch_size)
    outputs = 4 + (SPLIT.images / np.float32(255)).reshape(23, -1) @ W
    distance = np.abs(outputs[:, None] - CODEBOOK)
    huber = np.where(distance < 1, distance**2 / 2, distance - 0.5).mean(axis=-1)
    loss = huber[np.arange(23), SPLIT.labels]
    decisions = (distance**2).sum(axis=-1).argmin(axis=-1)
    assert 0 < (loss < 1.5).sum() < 23
    assert finding.values["accepted"] == pytest.approx((loss < 1.5).mean())
    both = (loss < 1.5) & (decisions == SPLIT.labels)
    assert finding.values["accepted_and_right"] == pytest.approx(both.mean())
    assert finding.values["mean_loss"] == pytest.approx(loss.mean(), rel=1e-5)
    assert (finding.n, finding.parameters) == (23, {"threshold": 1.5})
    np.testing.assert_allclose(arrays["outputs"], outputs[:5], rtol=1e-5)
    np.testing.assert_allclose(arrays["losses"], loss[:5], rtol=1e-5)
    np.testing.assert_array_equal(arrays["decisions"], decisions[:5])


def test_outputs_stop_when_asked():
    with pytest.raises(Stopped, match="batch 0/1"):
        looked_at(SPLIT, stop=lambda: True)


@pytest.fixture(scope="module")
def net():
    rngs = nnx.Rngs(0)
    encoder = models.CNN((8, 8, 1), widths=(4, 6), features=5, rngs=rngs)
    head = models.Softmax(5, 3, rngs=rngs)
    return models.Network(encoder, head, mean=(0.4,), std=(0.2,))


def test_saliency_is_grad_cam_of_the_decisions_at_each_depth(net):
    softmax = objective.softmax().at({}, 1.0)
    images = RNG.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    split = data.Split(images, np.array([0, 1, 2, 0], np.int32))
    finding, arrays = views.saliency(net, softmax, split, shown=3, identity={})
    layers = finding.values["layers"]
    assert layers == ["conv_1", "conv_2"]
    x = jnp.asarray(images[:3] / np.float32(255))
    decisions = jnp.argmax(jax.jit(lambda x: net(x)[0])(x), axis=-1)
    np.testing.assert_array_equal(arrays["decisions"], decisions)
    for layer, found in zip(layers, arrays["maps"], strict=True):
        expected = analysis.grad_cam(net, lambda o: o, x, decisions, layer=layer)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert views.has_maps(net, split)


def test_a_net_without_maps_says_so():
    softmax = objective.softmax().at({}, 1.0)

    def flat(x):
        return x.reshape(len(x), -1) @ W, {"embedding": x.reshape(len(x), -1)}

    assert not views.has_maps(flat, SPLIT)
    with pytest.raises(ValueError, match="Grad-CAM needs them: choose a net with"):
        views.saliency(flat, softmax, SPLIT, identity={})


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, ["1"]), (2, ["1", "2"]), (3, ["1", "2", "3"]), (33, ["11", "22", "33"])],
)
def test_depths_are_thirds(number, expected):
    shapes = {str(i): (1, 4, 4, 8) for i in range(1, number + 1)}
    assert views.depths({**shapes, "embedding": (1, 8)}) == expected


def test_features_that_are_far_apart_stay_apart():
    labels = np.repeat([0, 1, 2], 10)
    apart = 50 * np.eye(3)[labels] + RNG.normal(size=(30, 3))
    same = np.ones((30, 3))
    snapshots = [(0, same.astype(np.float32)), (7, apart.astype(np.float32))]
    finding, arrays = views.features(snapshots, labels, identity={})
    assert finding.values["epochs"] == arrays["epochs"].tolist() == [0, 7]
    before, after = arrays["points"]
    assert not before.any()
    middles = np.stack([after[labels == c].mean(axis=0) for c in range(3)])
    distances = np.linalg.norm(after[:, None] - middles, axis=-1)
    np.testing.assert_array_equal(distances.argmin(axis=1), labels)
    _, again = views.features(snapshots, labels, identity={})
    np.testing.assert_array_equal(after, again["points"][1])
