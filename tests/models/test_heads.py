import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels.models import Head, Prototypes, Softmax

TRANSFORMS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda x: jax.vmap(lambda row: f(row[None])[0])(x),
}
X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_softmax_is_affine(transform):
    head = Softmax(4, 3, rngs=nnx.Rngs(0))
    head.linear.bias[...] = jnp.arange(3.0)
    expected = X @ np.asarray(head.linear.kernel[...]) + np.arange(3)
    np.testing.assert_allclose(transform(head)(jnp.asarray(X)), expected, atol=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_prototypes_are_squared_distances(transform):
    head = Prototypes(4, 3, per_class=2, rngs=nnx.Rngs(0))
    prototypes = np.asarray(head.prototypes[...])
    expected = ((X[:, None] - prototypes[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(transform(head)(jnp.asarray(X)), expected, rtol=1e-5)


@pytest.mark.parametrize("build", [Softmax, Prototypes])
def test_contract_of_every_head(build):
    head = build(4, 3, rngs=nnx.Rngs(0))
    assert isinstance(head, Head)
    assert head(jnp.asarray(X, jnp.bfloat16)).dtype == jnp.float32


def test_prototype_labels():
    head = Prototypes(4, 3, per_class=2, rngs=nnx.Rngs(0))
    assert head.prototype_labels.dtype == np.int32
    assert head.prototype_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert head.prototypes.shape == (6, 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda r: Softmax(4, 1, rngs=r), "num_classes=1 .* at least 2"),
        (lambda r: Softmax(0, 2, rngs=r), "in_features=0 .* at least 1"),
        (lambda r: Prototypes(4, 2, per_class=0, rngs=r), "per_class=0"),
    ],
)
def test_wrong_sizes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(nnx.Rngs(0))
