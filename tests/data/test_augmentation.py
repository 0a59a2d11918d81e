"""Crops, flips and cut-outs: each result is one that NumPy can name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from robustlabels.data import Augmentation, augment

RNG = np.random.default_rng(0)
# No two pixels are alike and none is black, so that every pixel says where it is from.
IMAGES = RNG.permutation(np.arange(1, 64 * 6 * 5 + 1)).reshape(64, 6, 5, 1)


def changed(augmentation, images=IMAGES, seed=0, jitted=True):
    def run(key, images):
        return augment(key, images, augmentation)

    run = jax.jit(run) if jitted else run
    return np.asarray(run(jax.random.key(seed), jnp.asarray(images)))


def corners_of(image, result, padding):
    """Where the result was cut out of the padded image; all places that fit."""
    height, width, _ = image.shape
    sides = ((padding, padding), (padding, padding), (0, 0))
    padded = np.pad(image, sides)
    return [
        (i, j)
        for i in range(2 * padding + 1)
        for j in range(2 * padding + 1)
        if np.array_equal(padded[i : i + height, j : j + width], result)
    ]


def test_crops_are_windows_of_the_padded_image_at_even_places():
    places = []
    for seed in range(4):
        results = changed(Augmentation(crop_padding=2), seed=seed)
        for image, result in zip(IMAGES, results, strict=True):
            (corner,) = corners_of(image, result, 2)
            places.append(corner)
    counts = np.zeros((5, 5))
    for corner in places:
        counts[corner] += 1
    assert scipy.stats.chisquare(counts.ravel()).pvalue > 0.001


def test_half_of_the_images_are_flipped():
    results = np.concatenate([changed(Augmentation(flip=True), seed=s) for s in (0, 1)])
    images = np.concatenate([IMAGES, IMAGES])
    flips = [
        np.array_equal(result, np.flip(image, axis=1))
        for image, result in zip(images, results, strict=True)
    ]
    same = [np.array_equal(a, b) for a, b in zip(images, results, strict=True)]
    assert all(a != b for a, b in zip(flips, same, strict=True))
    assert scipy.stats.binomtest(sum(flips), len(flips)).pvalue > 0.001


@pytest.mark.parametrize("side", [1, 2, 3])
def test_cutout_blackens_a_square_around_a_pixel(side):
    results = changed(Augmentation(cutout=side))
    centres = set()
    for image, result in zip(IMAGES, results, strict=True):
        fits = []
        for i in range(6):
            for j in range(5):
                hole = image.copy()
                top, left = max(0, i - side // 2), max(0, j - side // 2)
                hole[top : i - side // 2 + side, left : j - side // 2 + side] = 0
                fits += [(i, j)] if np.array_equal(hole, result) else []
        assert fits
        centres.add(fits[0])
    assert len(centres) > 15


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_all_at_once_in_any_dtype_plain_and_jitted(dtype):
    images = (IMAGES % 251).astype(dtype)
    everything = Augmentation(crop_padding=1, flip=True, cutout=2)
    first = changed(everything, images)
    assert first.dtype == dtype
    assert first.shape == images.shape
    np.testing.assert_array_equal(first, changed(everything, images, jitted=False))
    assert np.any(first != changed(everything, images, seed=1))
    # An image's draw does not depend on what else is in the batch.
    np.testing.assert_array_equal(first[:3], changed(everything, images[:3]))


def test_nothing_is_the_default_and_sizes_are_checked():
    np.testing.assert_array_equal(changed(Augmentation()), IMAGES)
    with pytest.raises(ValueError, match="crop_padding=-1 is not a whole number"):
        Augmentation(crop_padding=-1).check()
