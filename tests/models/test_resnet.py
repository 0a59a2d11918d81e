"""Residual networks against NumPy, and against the parameter counts of the papers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import (
    CALL,
    ONE_KEY,
    assert_close,
    conv_norm_by_hand,
    filled,
    images,
    max_pool_by_hand,
    parameters,
)
from flax import nnx

from robustlabels.models import (
    Block,
    CIFARResNet,
    Encoder,
    ResNet,
    Softmax,
    encoders,
    max_pool,
)
from robustlabels.models.resnet import Residual

SMALL = {
    "cifar": lambda rngs, **kw: CIFARResNet((7, 6, 2), depth=8, rngs=rngs, **kw),
    "imagenet": lambda rngs, **kw: ResNet((33, 20, 3), depth=18, rngs=rngs, **kw),
}


def residual_by_hand(x, block, stride=1):
    layers = [*block["body"].values(), block["last"]]
    strides = {2: (stride, 1), 3: (1, stride, 1)}[len(layers)]
    h = conv_norm_by_hand(x, layers[0], strides[0])
    for layer, own in zip(layers[1:], strides[1:], strict=True):
        h = conv_norm_by_hand(np.maximum(h, 0), layer, own)
    if "projection" in block:
        x = conv_norm_by_hand(x, block["projection"], stride)
    return np.maximum(h + x, 0)


def network_by_hand(x, arrays):
    imagenet = len(arrays["stages"]["blocks"]) == 4
    h = np.maximum(conv_norm_by_hand(x, arrays["stem"], 2 if imagenet else 1), 0)
    named = [("stem", h)]
    if imagenet:
        h = max_pool_by_hand(h, size=3, stride=2, padding=1)
    for i, stage in arrays["stages"]["blocks"].items():
        for j, block in stage.items():
            h = residual_by_hand(h, block, 2 if i > 0 and j == 0 else 1)
            named.append((f"stage_{i + 1}_block_{j + 1}", h))
    return [*named, ("pooled", h.mean((1, 2)))]


@pytest.mark.parametrize(
    ("depth", "classes", "count"),
    [
        (20, 10, 272_474),
        (32, 10, 466_906),
        (32, 100, 472_756),
        (110, 10, 1_730_714),
    ],
)
def test_parameters_of_cifar_resnets(depth, classes, count):
    encoder = parameters(lambda: CIFARResNet((32, 32, 3), depth=depth, rngs=ONE_KEY))
    head = parameters(lambda: Softmax(64, classes, rngs=ONE_KEY))
    assert encoder + head == count


@pytest.mark.parametrize(
    ("depth", "features", "count"),
    [
        (18, 512, 11_689_512),
        (34, 512, 21_797_672),
        (50, 2048, 25_557_032),
        (101, 2048, 44_549_160),
        (152, 2048, 60_192_808),
    ],
)
def test_parameters_of_imagenet_resnets(depth, features, count):
    encoder = parameters(lambda: ResNet((224, 224, 3), depth=depth, rngs=ONE_KEY))
    head = parameters(lambda: Softmax(features, 1000, rngs=ONE_KEY))
    assert encoder + head == count


@pytest.mark.parametrize("size", [(32, 32), (31, 18), (1, 2)], ids=str)
def test_shapes_of_a_cifar_resnet(size):
    shape, x = (*size, 3), jnp.zeros((2, *size, 3))
    _, activations = nnx.eval_shape(
        lambda x: CIFARResNet(shape, depth=14, rngs=ONE_KEY)(x), x
    )
    expected = {"stem": (2, *size, 16)}
    for stage, width in enumerate((16, 32, 64)):
        pixels = [math.ceil(side / 2**stage) for side in size]
        for block in (1, 2):
            expected[f"stage_{stage + 1}_block_{block}"] = (2, *pixels, width)
    expected["pooled"] = (2, 64)
    actual = [(name, value.shape) for name, value in activations.items()]
    assert actual == list(expected.items())


@pytest.mark.parametrize("size", [(224, 224), (65, 32), (1, 2)], ids=str)
@pytest.mark.parametrize(("depth", "expansion"), [(34, 1), (50, 4)])
def test_shapes_of_an_imagenet_resnet(depth, expansion, size):
    shape, x = (*size, 3), jnp.zeros((2, *size, 3))
    _, activations = nnx.eval_shape(
        lambda x: ResNet(shape, depth=depth, rngs=ONE_KEY)(x), x
    )
    expected = {"stem": (2, *(math.ceil(side / 2) for side in size), 64)}
    for stage, blocks in enumerate((3, 4, 6, 3)):
        pixels = [math.ceil(side / 2 ** (stage + 2)) for side in size]
        features = 64 * 2**stage * expansion
        for block in range(1, blocks + 1):
            expected[f"stage_{stage + 1}_block_{block}"] = (2, *pixels, features)
    expected["pooled"] = (2, 512 * expansion)
    actual = [(name, value.shape) for name, value in activations.items()]
    assert actual == list(expected.items())


@pytest.mark.parametrize("bottleneck", [False, True], ids=["basic", "bottleneck"])
@pytest.mark.parametrize(
    ("features", "stride", "size"),
    [(4, 1, (4, 3)), (16, 1, (4, 3)), (16, 2, (6, 8)), (4, 2, (7, 5))],
)
def test_residual_block_matches_numpy(features, stride, size, bottleneck):
    block, arrays = filled(
        lambda: Residual(
            features, 4, stride=stride, bottleneck=bottleneck, rngs=ONE_KEY
        )
    )
    same = stride == 1 and features == block.out_features
    assert ("projection" in arrays) != same
    x = images((*size, features))
    expected = residual_by_hand(x, arrays, stride)
    assert_close(CALL(block, jnp.asarray(x), train=False), expected)


@pytest.mark.parametrize("name", SMALL)
def test_network_matches_numpy(name):
    encoder, arrays = filled(lambda: SMALL[name](ONE_KEY))
    assert isinstance(encoder, Encoder)
    x = images(encoder.image_shape)
    embedding, activations = CALL(encoder, jnp.asarray(x), train=False)
    expected = network_by_hand(x, arrays)
    assert embedding.shape == (2, encoder.out_features)
    np.testing.assert_array_equal(embedding, activations["pooled"])
    assert list(activations) == [key for key, _ in expected]
    for key, value in expected:
        assert_close(activations[key], value, 1e-4)
    kept = nnx.to_pure_dict(nnx.state(encoder))
    jax.tree.map(np.testing.assert_array_equal, kept, arrays)


@pytest.mark.parametrize("name", SMALL)
def test_training_moves_all_statistics(name):
    encoder, _ = filled(lambda: SMALL[name](ONE_KEY))
    before = jax.tree.leaves(nnx.state(encoder, nnx.BatchStat))
    CALL(encoder, jnp.asarray(images(encoder.image_shape, n=4)), train=True)
    after = jax.tree.leaves(nnx.state(encoder, nnx.BatchStat))
    for old, new in zip(before, after, strict=True):
        assert np.isfinite(new).all()
        assert (np.asarray(old) != np.asarray(new)).all()


def test_training_gradients_are_finite_and_reach_all_parameters():
    encoder, _ = filled(lambda: SMALL["cifar"](ONE_KEY))
    graphdef, params, stats = nnx.split(encoder, nnx.Param, nnx.BatchStat)
    x = jnp.asarray(images(encoder.image_shape, n=4))

    def loss(params):
        model = nnx.merge(graphdef, params, stats, copy=True)
        return (model(x, train=True)[0] ** 2).sum()

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(params)):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)


def test_replicas_under_vmap_match_numpy():
    def build():
        return CIFARResNet((5, 4, 1), depth=20, rngs=ONE_KEY)

    replicas = [filled(build, seed) for seed in (0, 1)]
    graphdef, _ = nnx.split(replicas[0][0])
    states = [nnx.state(encoder) for encoder, _ in replicas]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    x = images((5, 4, 1), n=3)

    @jax.jit
    def embed(stacked, x):
        return jax.vmap(lambda state: nnx.merge(graphdef, state)(x)[0])(stacked)

    embeddings = embed(stacked, jnp.asarray(x))
    for embedding, (_, arrays) in zip(embeddings, replicas, strict=True):
        assert_close(embedding, network_by_hand(x, arrays)[-1][1], 1e-4)


def test_bfloat16_computes_in_bfloat16_and_learns_in_float32():
    encoder, arrays = filled(lambda: SMALL["cifar"](ONE_KEY, dtype="bfloat16"))
    x = images(encoder.image_shape)
    embedding, activations = CALL(encoder, jnp.asarray(x), train=False)
    assert all(value.dtype == jnp.bfloat16 for value in activations.values())
    assert_close(embedding.astype(np.float32), network_by_hand(x, arrays)[-1][1], 0.03)
    leaves = jax.tree.leaves(nnx.state(encoder))
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)


def test_kernels_start_with_he_variance_and_norms_as_the_identity():
    block = Residual(64, 32, bottleneck=True, rngs=nnx.Rngs(0))
    for path, leaf in nnx.to_flat_state(nnx.state(block, nnx.Param)):
        value = np.asarray(leaf[...])
        if path[-1] == "kernel":
            fan_in = math.prod(value.shape[:-1])
            assert value.var() * fan_in == pytest.approx(2, rel=0.1)
        else:
            assert (value == {"scale": 1, "bias": 0}[path[-1]]).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda r: CIFARResNet((8, 8, 3), depth=33, rngs=r), r"depth=33 .* take 32"),
        (lambda r: CIFARResNet((8, 8, 3), depth=2, rngs=r), "depth=2 .* at least 8"),
        (lambda r: ResNet((8, 8, 3), depth=36, rngs=r), "one of 18, 34, 50, 101, 152"),
        (lambda r: Residual(4, 0, rngs=r), "out_features=0"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(nnx.Rngs(0))


def test_configs_may_name_them():
    assert {"CIFARResNet", "ResNet"} <= set(encoders.__all__)


@pytest.mark.parametrize("kernel_size", [1, 4, 5])
def test_a_block_of_stride_1_pads_like_same(kernel_size):
    block = Block(3, 2, kernel_size=kernel_size, rngs=nnx.Rngs(0))
    x = jnp.asarray(images((6, 5, 3)))
    layout = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
        x, block.linear.kernel[...], (1, 1), "SAME", dimension_numbers=layout
    )
    assert_close(block.preactivation(x), expected)
    assert_close(block(x), np.maximum(expected, 0))


POOLINGS = [
    {"size": 3, "stride": 2, "padding": 1},
    {"size": 3, "stride": 1, "padding": 2},
    {"size": 2, "stride": 3, "padding": 0},
]
TRANSFORMS = {
    "plain": lambda pool: pool,
    "jit": jax.jit,
    "vmap": lambda pool: jax.jit(jax.vmap(lambda image: pool(image[None])[0])),
}


@pytest.mark.parametrize("shape", POOLINGS, ids=str)
@pytest.mark.parametrize("size", [(7, 8), (3, 3)], ids=str)
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_max_pool_matches_loops(transform, size, shape):
    x = images((*size, 3)) - 5.0  # so that zeros of a padding would show
    pool = transform(lambda x: max_pool(x, **shape))
    padding, window, stride = shape["padding"], shape["size"], shape["stride"]
    sides = [(side + 2 * padding - window) // stride + 1 for side in size]
    expected = np.zeros((2, *sides, 3), np.float32)
    for n, i, j, c in np.ndindex(expected.shape):
        top, left = stride * i - padding, stride * j - padding
        rows = slice(max(top, 0), top + window)
        columns = slice(max(left, 0), left + window)
        expected[n, i, j, c] = x[n, rows, columns, c].max()
    np.testing.assert_array_equal(pool(jnp.asarray(x)), expected)


@pytest.mark.parametrize("shape", POOLINGS, ids=str)
def test_gradient_of_max_pool_is_the_finite_difference(shape):
    rng = np.random.default_rng(0)
    x = rng.permutation(7 * 6).astype(np.float32).reshape(1, 7, 6, 1)
    weights = rng.integers(1, 9, max_pool_by_hand(x, **shape).shape).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda x: (weights * max_pool(x, **shape)).sum()))
    expected = np.zeros_like(x)
    for pixel in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[pixel] = 0.25
        up, down = (max_pool_by_hand(z, **shape) for z in (x + step, x - step))
        expected[pixel] = (weights * (up - down)).sum() / 0.5
    np.testing.assert_array_equal(gradient(jnp.asarray(x)), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"stride": 0}, "stride=0"),
        ({"padding": 2}, r"padding=2 is outside \[0, 1\]. Each window needs a pixel"),
        ({"padding": -1}, "padding=-1"),
    ],
)
def test_max_pool_names_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        max_pool(jnp.zeros((1, 4, 4, 1)), **arguments)
