"""Gradients of activations against nets that are cut by hand, and a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels import models
from robustlabels.analysis import activation_gradient, grad_cam

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(3, 8, 8, 1)), jnp.float32)
LABELS = jnp.array([0, 2, 1])


@pytest.fixture(scope="module")
def net():
    rngs = nnx.Rngs(0)
    encoder = models.CNN((8, 8, 1), widths=(4, 6), features=5, norm="batch", rngs=rngs)
    head = models.Softmax(5, 3, rngs=rngs)
    return models.Network(encoder, head, mean=(0.4,), std=(0.2,))


def score(outputs):
    return outputs[jnp.arange(3), LABELS].sum()


def from_conv_1(net, h):
    h = models.max_pool(net.encoder.convs[1](models.max_pool(h)))
    return score(net.head(net.encoder.dense(h.reshape(len(h), -1))))


def from_conv_2(net, h):
    h = models.max_pool(h).reshape(len(h), -1)
    return score(net.head(net.encoder.dense(h)))


@pytest.mark.parametrize("rest", [from_conv_1, from_conv_2])
def test_the_gradient_is_that_of_the_rest_of_the_net(net, rest):
    layer = rest.__name__.removeprefix("from_")
    activation, slope = activation_gradient(net, score, X, layer=layer)
    expected = jax.jit(lambda x: net(x)[1][layer])(X)
    np.testing.assert_allclose(activation, expected, rtol=1e-5, atol=1e-6)
    by_hand = jax.jit(jax.grad(lambda h: rest(net, h)))(expected)
    assert np.any(by_hand)
    np.testing.assert_allclose(slope, by_hand, rtol=1e-4, atol=1e-6)


def test_pixels_are_an_activation_too():
    def predict(x):
        return x.reshape(len(x), -1) ** 2, {"pixels": x}

    _, slope = activation_gradient(predict, jnp.sum, X, layer="pixels")
    np.testing.assert_allclose(slope, 2 * X, rtol=1e-6)


def test_grad_cam_of_averaged_channels_is_their_weighted_sum():
    """After an average of the pixels, a channel weighs what its class weighs it."""
    kernel = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)

    def predict(x):
        maps = jnp.concatenate([x, x**2, 1 - x, jnp.sin(9 * x)], axis=-1)
        return maps.mean((1, 2)) @ kernel, {"maps": maps}

    found = grad_cam(predict, lambda z: z, X, LABELS, layer="maps")
    maps = np.asarray(predict(X)[1]["maps"])
    for image, label, cam in zip(maps, LABELS, found, strict=True):
        expected = np.maximum(image @ np.asarray(kernel)[:, label], 0)
        largest = expected.max() or 1.0
        np.testing.assert_allclose(cam, expected / largest, atol=1e-5)
    assert np.any(found)


def test_maps_are_as_large_as_the_image(net):
    found = grad_cam(net, lambda z: z, X, LABELS, layer="conv_2")
    assert found.shape == (3, 8, 8)
    assert np.all((found >= 0) & (found <= 1))


def test_what_cannot_be_asked_is_said(net):
    with pytest.raises(ValueError, match=r"layer='conv_9' is not there.*'conv_1'"):
        activation_gradient(net, score, X, layer="conv_9")
    with pytest.raises(ValueError, match=r"shape \(5,\), and Grad-CAM needs rows"):
        grad_cam(net, lambda z: z, X, LABELS, layer="dense_1")
    graphdef, state = nnx.split(net)

    @jax.jit
    def closed(x):
        return nnx.merge(graphdef, state, copy=True)(x)

    with pytest.raises(ValueError, match="does not depend on the layer 'conv_1'"):
        activation_gradient(closed, score, X, layer="conv_1")
