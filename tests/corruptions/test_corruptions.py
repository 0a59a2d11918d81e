"""Corruptions against SciPy, Pillow, `colorsys` and loops of NumPy."""

import colorsys
import functools
import io
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
import scipy.stats

from robustlabels import corruptions
from robustlabels.corruptions import SEVERITIES, corrupt

BATCH, HEIGHT, WIDTH = 6, 16, 20
SHAPE = (HEIGHT, WIDTH)
KEY = jax.random.key(0)
KEYS = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(BATCH))
NAMES = list(corruptions.CORRUPTIONS)


def smooth_images(channels=3):
    """Bytes over 255, from black to white, with colours that change slowly."""
    noise = np.random.default_rng(0).normal(size=(BATCH, *SHAPE, channels))
    x = scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 0))
    low, high = (f(x, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    x = np.clip(1.2 * (x - low) / (high - low) - 0.1, 0, 1)
    x[:, 0, 0] = 0
    return (np.round(255 * x) / 255).astype(np.float32)


X = smooth_images()


@functools.cache
def corrupted(name, severity):
    return np.asarray(corrupt(name, jnp.asarray(X), severity=severity, key=KEY))


def on_gray(name, severity):
    x = jnp.asarray(np.full(X.shape, 0.5, np.float32))
    return np.asarray(corrupt(name, x, severity=severity, key=KEY))


def blurred(image, sigma, mode, truncate):
    return scipy.ndimage.gaussian_filter(
        image, (sigma, sigma, 0), mode=mode, truncate=truncate
    )


def clipped_zoom(image, factor):
    kept = [math.ceil(side / factor) for side in SHAPE]
    top, left = ((s - k) // 2 for s, k in zip(SHAPE, kept, strict=True))
    middle = image[top : top + kept[0], left : left + kept[1]]
    zoomed = scipy.ndimage.zoom(middle, (factor, factor, 1), order=1)
    top, left = ((z - s) // 2 for z, s in zip(zoomed.shape, SHAPE, strict=False))
    return zoomed[top : top + HEIGHT, left : left + WIDTH]


def moved(image, angle, radius, sigma):
    """A correlation with one half of a Gaussian along a line."""
    kernel = np.zeros((2 * 30 + 1, 2 * 30 + 1, 1))
    for i in range(2 * radius + 1):
        row, column = i * math.sin(angle), i * math.cos(angle)
        at = math.ceil(row - 0.5) + 30, math.ceil(column - 0.5) + 30
        kernel[*at, 0] += math.exp(-(i**2) / (2 * sigma**2))
    return scipy.ndimage.correlate(image, kernel / kernel.sum(), mode="nearest")


def defocus_by_hand(image, key, severity):
    radius, sigma = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][
        severity - 1
    ]
    side = np.arange(-8, 9)
    disk = (side[:, None] ** 2 + side[None, :] ** 2 <= radius**2) * 1.0
    tap = math.exp(-1 / (2 * sigma**2))
    window = np.array([tap, 1, tap]) / (1 + 2 * tap)
    disk = scipy.ndimage.correlate(
        disk / disk.sum(), np.outer(window, window), mode="constant"
    )
    return scipy.ndimage.correlate(image, disk[..., None], mode="mirror")


def glass_by_hand(image, key, severity):
    """The published loop, with NumPy's assignment of one view to another."""
    sigma, passes = [(0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2)][severity - 1]
    chance = np.asarray(jax.random.bernoulli(key, shape=(2, 2, *SHAPE)), int)
    x = blurred(image, sigma, "nearest", 4)
    for number in range(passes):
        for h in range(HEIGHT - 1, 1, -1):
            for w in range(WIDTH - 1, 1, -1):
                up, left = chance[number, :, h, w]
                x[h, w], x[h - up, w - left] = x[h - up, w - left], x[h, w]
    return blurred(x, sigma, "nearest", 4)


def motion_by_hand(image, key, severity):
    window = [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)][severity - 1]
    angle = float(jax.random.uniform(key, minval=-45, maxval=45))
    return moved(image, math.radians(angle), *window)


def zoom_by_hand(image, key, severity):
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][severity - 1], 0.01)
    zoomed = [clipped_zoom(image, factor) for factor in factors]
    return np.mean([image, *zoomed], axis=0)


def snow_by_hand(image, key, severity):
    mean, scale, zoom, threshold, radius, sigma, keep = [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ][severity - 1]
    noise_key, angle_key = jax.random.split(key)
    noise = np.asarray(jax.random.normal(noise_key, (*SHAPE, 1)), float)
    flakes = clipped_zoom(mean + scale * noise, zoom)
    flakes[flakes < threshold] = 0
    angle = math.radians(float(jax.random.uniform(angle_key, minval=-135, maxval=-45)))
    flakes = moved(np.clip(flakes, 0, 1), angle, radius, sigma)
    gray = np.asarray(PIL.Image.fromarray(np.uint8(255 * image)).convert("L")) / 255
    white = np.maximum(image, gray[..., None] * 1.5 + 0.5)
    return keep * image + (1 - keep) * white + flakes + np.rot90(flakes, k=2)


def plasma_by_hand(key, decay):
    """Diamonds and squares on a torus of 32 x 32, point by point."""
    size, step, heights = 32, 32, np.zeros((32, 32))
    noise = list(np.asarray(jax.random.uniform(key, (1023,), minval=-1, maxval=1)))
    amplitude = 100.0

    def set_points(first_row, first_column, neighbours):
        for row in range(first_row, size, step):
            for column in range(first_column, size, step):
                around = [
                    heights[(row + r) % size, (column + c) % size]
                    for r, c in neighbours
                ]
                bump = amplitude * amplitude * noise.pop(0)
                heights[row, column] = np.mean(around) + bump

    while step >= 2:
        half = step // 2
        corners = [(r, c) for r in (-half, half) for c in (-half, half)]
        cross = [(-half, 0), (half, 0), (0, -half), (0, half)]
        set_points(half, half, corners)
        set_points(0, half, cross)
        set_points(half, 0, cross)
        step, amplitude = half, amplitude / decay
    heights -= heights.min()
    return (heights / heights.max())[:HEIGHT, :WIDTH, None]


def fog_by_hand(image, key, severity):
    amount, decay = [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)][severity - 1]
    foggy = image + amount * plasma_by_hand(key, decay)
    return foggy * image.max() / (image.max() + amount)


def brightness_by_hand(image, key, severity):
    change = [0.05, 0.1, 0.15, 0.2, 0.3][severity - 1]
    pixels = []
    for pixel in image.reshape(-1, 3):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        pixels.append(colorsys.hsv_to_rgb(hue, saturation, min(value + change, 1)))
    return np.reshape(pixels, image.shape)


def contrast_by_hand(image, key, severity):
    keep = [0.75, 0.5, 0.4, 0.3, 0.15][severity - 1]
    return np.stack(
        [c.mean() + keep * (c - c.mean()) for c in np.moveaxis(image, -1, 0)], axis=-1
    )


def elastic_by_hand(image, key, severity):
    side = min(SHAPE)
    amount, sigma, jitter = (
        np.array(
            [
                (0, 0, 0.08),
                (0.05, 0.2, 0.07),
                (0.08, 0.06, 0.06),
                (0.1, 0.04, 0.05),
                (0.1, 0.03, 0.03),
            ][severity - 1]
        )
        * side
    )
    affine_key, smooth_key = jax.random.split(key)
    middle, third = np.array([HEIGHT // 2, WIDTH // 2]), side // 3
    points = middle + third * np.array([[1, 1], [-1, 1], [-1, -1]])
    noise = jax.random.uniform(affine_key, (3, 2), minval=-1, maxval=1)
    targets = points + jitter * np.asarray(noise, float)
    edges = (points[1:] - points[0]).T @ np.linalg.inv((targets[1:] - targets[0]).T)
    grid = np.moveaxis(np.mgrid[:HEIGHT, :WIDTH], 0, -1)
    origin = points[0] + (grid - targets[0]) @ edges.T
    smooth = jax.random.uniform(smooth_key, (*SHAPE, 2), minval=-1, maxval=1)
    shift = amount * blurred(np.asarray(smooth, float), sigma, "reflect", 3)
    for at, mode in [(origin, "mirror"), (grid + shift, "reflect")]:
        planes = [
            scipy.ndimage.map_coordinates(
                plane, np.moveaxis(at, -1, 0), order=1, mode=mode
            )
            for plane in np.moveaxis(image, -1, 0)
        ]
        image = np.stack(planes, axis=-1)
    return image


def pixelate_by_pillow(image, key, severity):
    share = [0.95, 0.9, 0.85, 0.75, 0.65][severity - 1]
    small, planes = (int(WIDTH * share), int(HEIGHT * share)), []
    for plane in np.moveaxis(image, -1, 0):
        picture = PIL.Image.fromarray(plane.astype(np.float32))
        picture = picture.resize(small, PIL.Image.Resampling.BOX)
        picture = picture.resize((WIDTH, HEIGHT), PIL.Image.Resampling.BOX)
        planes.append(np.asarray(picture))
    return np.stack(planes, axis=-1)


ORACLES = {
    "defocus_blur": defocus_by_hand,
    "glass_blur": glass_by_hand,
    "motion_blur": motion_by_hand,
    "zoom_blur": zoom_by_hand,
    "fog": fog_by_hand,
    "brightness": brightness_by_hand,
    "contrast": contrast_by_hand,
    "elastic_transform": elastic_by_hand,
    "pixelate": pixelate_by_pillow,
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_it_is_the_published_corruption(name, severity):
    found = corrupted(name, severity)
    for i in range(2):
        expected = ORACLES[name](X[i].astype(float), KEYS[i], severity)
        np.testing.assert_allclose(found[i], np.clip(expected, 0, 1), atol=2e-5)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_is_the_published_corruption_up_to_pillows_gray(severity):
    found = corrupted("snow", severity)
    for i in range(2):
        expected = snow_by_hand(X[i].astype(float), KEYS[i], severity)
        rounding = 0.2 * 1.5 / 255
        np.testing.assert_allclose(found[i], np.clip(expected, 0, 1), atol=rounding)


def jpeg_by_pillow(image, severity):
    stream = io.BytesIO()
    pixels = np.uint8(np.round(255 * image))
    picture = PIL.Image.fromarray(pixels.squeeze())
    picture.save(stream, "JPEG", quality=[80, 65, 58, 50, 40][severity - 1])
    return np.asarray(PIL.Image.open(stream)).reshape(image.shape) / 255


@pytest.mark.parametrize(
    ("shape", "severities"),
    [((*SHAPE, 3), SEVERITIES), ((17, 23, 3), [2, 5]), ((28, 28, 1), [1, 4])],
)
def test_jpeg_is_what_pillow_writes_and_reads(shape, severities):
    x = np.resize(smooth_images(shape[-1]), (BATCH, *shape))
    for severity in severities:
        found = corrupt("jpeg_compression", jnp.asarray(x), severity=severity, key=KEY)
        expected = [jpeg_by_pillow(image, severity) for image in x]
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_noise_has_the_published_scale(severity):
    scale = [0.04, 0.06, 0.08, 0.09, 0.10][severity - 1]
    noise = on_gray("gaussian_noise", severity).reshape(-1) - 0.5
    for factor, fits in [(1, True), (1.1, False), (0.9, False)]:
        fit = scipy.stats.kstest(noise, scipy.stats.norm(scale=factor * scale).cdf)
        assert (fit.pvalue > 1e-2) == fits


@pytest.mark.parametrize("severity", SEVERITIES)
def test_shot_noise_counts_photons(severity):
    photons = [500, 250, 100, 75, 50][severity - 1]
    counts = photons * on_gray("shot_noise", severity).reshape(-1)
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)
    n, expected = len(counts), photons / 2
    assert abs(np.mean(counts) - expected) < 4 * math.sqrt(expected / n)
    assert abs(np.var(counts) / expected - 1) < 4 * math.sqrt(2 / n)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_is_salt_and_pepper(severity):
    share = [0.01, 0.02, 0.03, 0.05, 0.07][severity - 1]
    values = on_gray("impulse_noise", severity)
    assert set(np.unique(values)) == {0, 0.5, 1}
    for value in [0, 1]:
        half, n = share / 2, values.size
        tolerance = 4 * math.sqrt(half / n)
        assert abs(np.mean(values == value) - half) < tolerance


@pytest.mark.parametrize("severity", SEVERITIES)
def test_frost_adds_blue_crystals_to_a_darkened_image(severity):
    keep, amount = [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)][
        severity - 1
    ]
    frosted = corrupted("frost", severity)
    black = corrupt("frost", jnp.zeros(X.shape), severity=severity, key=KEYS)[0]
    assert 0.9 * amount < black.max() <= amount
    np.testing.assert_allclose(black[..., 0], 0.8 * black[..., 2], atol=1e-6)
    np.testing.assert_allclose(black[..., 1], 0.9 * black[..., 2], atol=1e-6)
    expected = np.clip(keep * X[0] + black, 0, 1)
    np.testing.assert_allclose(frosted[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_severity_stays_in_the_box_and_changes_more(name):
    changes = []
    for severity in SEVERITIES:
        x = corrupted(name, severity)
        assert x.shape == X.shape
        assert x.dtype == np.float32
        assert x.min() >= 0
        assert x.max() <= 1
        changes.append(np.mean((x - X) ** 2))
    assert min(changes) > 0
    if name not in ("glass_blur", "elastic_transform"):
        assert np.all(np.diff(changes) > -1e-6)
        assert changes[-1] > 2 * changes[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_its_own_in_any_batch(name):
    order = np.array([3, 0, 5, 5, 1, 2])
    x, keys = jnp.asarray(X)[order], KEYS[order]
    again = corrupt(name, x, severity=4, key=keys)
    chex.assert_trees_all_close(again, corrupted(name, 4)[order], atol=1e-6)
    other = corrupt(name, x, severity=4, key=KEYS[order[::-1]])
    drawn = name not in (
        "defocus_blur",
        "zoom_blur",
        "brightness",
        "contrast",
        "pixelate",
        "jpeg_compression",
    )
    assert np.array_equal(again, other) != drawn


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 33, 3)])
def test_images_of_other_sizes_are_corrupted_too(name, shape):
    x = jax.ShapeDtypeStruct((2, *shape), jnp.bfloat16)
    result = jax.eval_shape(lambda x: corrupt(name, x, severity=1, key=KEYS[:2]), x)
    assert (result.shape, result.dtype) == (x.shape, x.dtype)


@pytest.mark.parametrize("name", ["snow", "brightness"])
def test_gray_images_are_those_of_three_equal_channels(name):
    gray = jnp.asarray(X[..., :1])
    found, colour = (
        corrupt(name, x, severity=3, key=KEY) for x in (gray, jnp.tile(gray, 3))
    )
    chex.assert_trees_all_close(jnp.tile(found, 3), colour, atol=1e-6)


def test_the_severity_may_be_traced():
    curve = jax.vmap(
        lambda severity: corrupt("contrast", jnp.asarray(X), severity=severity, key=KEY)
    )(jnp.arange(1, 6))
    expected = [corrupted("contrast", severity) for severity in SEVERITIES]
    np.testing.assert_allclose(curve, expected, atol=1e-6)


BAD = {
    "name": (
        {"name": "rain"},
        "name='rain' is unknown; choose one of 'gaussian_noise'",
    ),
    "severity": ({"severity": 0}, r"severity=0 is outside \[1, 5\]"),
    "size": ({"x": X[:, :7]}, r"x of shape \(6, 7, 20, 3\): .* at least 8 x 8"),
    "channels": ({"x": X[..., :2]}, r"x of shape \(6, 16, 20, 2\): .* 1 or 3 channels"),
    "bytes": ({"x": 255 * X}, r"a pixel of x=255.0 is outside \[0, 1\]"),
    "few keys": ({"key": KEYS[:5]}, r"key of shape \(5,\): give one key, or one"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, message):
    good = {"name": "contrast", "x": X, "severity": 1, "key": KEY} | change
    with pytest.raises(ValueError, match=message):
        corrupt(good.pop("name"), jnp.asarray(good.pop("x")), **good)
