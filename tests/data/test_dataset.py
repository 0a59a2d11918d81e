import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from robustlabels.data import Rows, as_float, dataset
from robustlabels.data.dataset import (
    Source,
    check_source,
    make_split,
    mean_and_std,
    numbered_classes,
)

IMAGES = np.zeros((3, 4, 5, 2), np.uint8)
LABELS = np.array([0, 1, 2])


@pytest.mark.parametrize("xp", [np, jnp])
def test_bytes_become_floats_and_floats_stay(xp):
    every_byte = xp.arange(256, dtype=xp.uint8)
    floats = as_float(every_byte)
    assert isinstance(floats, type(every_byte))
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, np.arange(256) / 255, rtol=1e-7)
    assert as_float(floats) is floats


def test_as_float_runs_under_jit():
    images = jnp.asarray([0, 255], jnp.uint8)
    np.testing.assert_array_equal(jax.jit(as_float)(images), [0.0, 1.0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_width_become_float32(dtype):
    split = make_split(np.full((3, 4, 5), 0.5, dtype), LABELS, where="mine")
    assert split.images.shape == (3, 4, 5, 1)
    assert split.images.dtype == np.float32
    assert split.labels.dtype == np.int32


@pytest.mark.parametrize(
    "labels",
    [LABELS.astype(np.uint8), LABELS.astype(float), LABELS[:, None], [0, 1, 2]],
    ids=["bytes", "floats", "column", "list"],
)
def test_labels_that_say_the_same(labels):
    split = make_split(IMAGES, labels, where="mine")
    assert split.images is IMAGES
    np.testing.assert_array_equal(split.labels, LABELS)


def bad_pixel(value):
    images = np.zeros((3, 4, 5, 2), np.float32)
    images[1, 2, 3, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 4)), LABELS, r"\(3, 4\) are not \[n, height, width\]"),
        (np.zeros((3, 4, 5, 2, 1)), LABELS, r"\(3, 4, 5, 2, 1\) are not"),
        (IMAGES[:0], LABELS[:0], r"\(0, 4, 5, 2\) are not .* at least one"),
        (IMAGES[..., :0], LABELS, r"\(3, 4, 5, 0\) are not"),
        (IMAGES.astype(np.int64), LABELS, "images are int64. Store uint8"),
        (bad_pixel(np.nan), LABELS, "1 images have NaN or infinite .* is image 1"),
        (bad_pixel(np.inf), LABELS, "1 images have NaN or infinite .* is image 1"),
        (bad_pixel(255.0), LABELS, r"pixels lie in \[0.0, 255.0\].*divide by 255"),
        (bad_pixel(-0.5), LABELS, r"pixels lie in \[-0.5, 0.0\]"),
        (IMAGES, LABELS[:2], r"3 images, but labels of shape \(2,\)"),
        (IMAGES, np.eye(3), r"labels of shape \(3, 3\).*one class id per image"),
        (IMAGES, LABELS + 0.5, r"float64 such as \[0.5, 1.5, 2.5\] are not whole"),
        (IMAGES, [0, 1, np.nan], "are not whole numbers"),
        (IMAGES, ["a", "b", "c"], r"\['a', 'b', 'c'\] are not whole numbers"),
        (IMAGES, LABELS - 1, r"labels lie in \[-1, 1\]. Number the classes from 0"),
        (IMAGES, LABELS + 2**31, r"labels lie in \[2147483648"),
    ],
)
def test_bad_arrays_are_named(images, labels, message):
    with pytest.raises(ValueError, match=f"^mine: .*{message}"):
        make_split(images, labels, where="mine")


def source(train=LABELS, test=LABELS, test_images=IMAGES, names=("a", "b", "c")):
    splits = (
        make_split(IMAGES, train, where=""),
        make_split(test_images, test, where=""),
    )
    return Source(splits[0], None, splits[1], names)


def test_splits_that_fit_pass():
    check_source(source(), name="mine")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (source(test_images=IMAGES[:, 1:]), r"test images.*\(3, 5, 2\).*\(4, 5, 2\)"),
        (source(test_images=IMAGES / 255), "test images are float32.*uint8"),
        (source(test=LABELS + 1), "test has label 3, but there are 3 class names"),
        (source(names=("a", "b")), "train has label 2, but there are 2 class names"),
        (source(train=[0, 2, 2]), r"no training image of class 1 \('b'\)"),
        (source(train=[2, 2, 2]), r"of class 0 \('a'\), class 1 \('b'\)\."),
    ],
)
def test_splits_that_do_not_fit(bad, message):
    with pytest.raises(ValueError, match=f"^mine: .*{message}"):
        check_source(bad, name="mine")


def test_a_huge_label_is_a_gap_not_a_list_of_names():
    split = make_split(IMAGES, [0, 1, 2**31 - 1], where="mine")
    with pytest.raises(ValueError, match="Label 2147483647 is larger than the number"):
        numbered_classes(split)


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=4, max_dims=4, max_side=5)))
def test_mean_and_std_match_numpy(images):
    mean, std = mean_and_std(images)
    pixels = images.astype(np.float64) / 255
    expected = pixels.std((0, 1, 2))
    constant = (images == images[0, 0, 0]).all((0, 1, 2))
    np.testing.assert_allclose(mean, pixels.mean((0, 1, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(std, np.where(constant, 1, expected), rtol=1e-4)


def test_mean_and_std_go_chunk_by_chunk():
    images = np.random.default_rng(0).random((2500, 3, 2, 3), np.float32)
    mean, std = mean_and_std(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2), np.float64), rtol=1e-6)
    np.testing.assert_allclose(std, images.std((0, 1, 2), np.float64), rtol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1.0])
def test_dividing_by_the_std_of_a_constant_channel_is_safe(value):
    mean, std = mean_and_std(np.full((1500, 3, 3, 1), value, np.float32))
    assert mean == np.float32(value)
    assert std == 1


def test_a_memory_map_of_bytes_is_not_read(tmp_path):
    def mapped(name, images):
        np.save(tmp_path / name, images)
        return np.load(tmp_path / name, mmap_mode="r")

    split = make_split(mapped("bytes.npy", IMAGES), LABELS, where="mine")
    assert isinstance(split.images, Rows)
    assert split.images.shape == (3, 4, 5, 2)
    split = make_split(mapped("grey.npy", IMAGES[..., 0]), LABELS, where="mine")
    assert split.images.shape == (3, 4, 5, 1)
    split = make_split(mapped("floats.npy", IMAGES / 2), LABELS, where="mine")
    assert isinstance(split.images, np.ndarray)


def test_mean_and_std_of_rows_are_those_of_the_first(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (1900, 3, 2, 3), dtype=np.uint8)
    rows = Rows(images, np.arange(1900)[::-1])
    for mine, expected in zip(mean_and_std(rows), mean_and_std(images), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-6)
    monkeypatch.setattr(dataset, "_SEEN", 1500)
    first = images[::-1][:1500]
    for mine, expected in zip(mean_and_std(rows), mean_and_std(first), strict=True):
        np.testing.assert_array_equal(mine, expected)
