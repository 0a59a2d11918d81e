"""Image files of many sizes and kinds as squares of one size."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustlabels.data.decoding import records_of, resized


def file_of(image, kind="png", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def triangle(pixels, size):
    """Resizes the first axis: each pixel averages under a triangle over its sources."""
    scale = len(pixels) / size
    width = max(scale, 1.0)
    rows = []
    for i in range(size):
        distance = np.abs(np.arange(len(pixels)) + 0.5 - (i + 0.5) * scale) / width
        weights = np.maximum(1 - distance, 0)
        rows.append(np.tensordot(weights / weights.sum(), pixels, axes=1))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(60, 91, 28), (91, 60, 28), (33, 33, 28), (20, 15, 28), (32, 200, 7)],
)
def test_a_square_of_the_middle_by_a_filter_that_averages(height, width, size):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    shorter = round(size * 256 / 224)
    tall = round(height * shorter / min(height, width))
    wide = round(width * shorter / min(height, width))
    expected = triangle(pixels.astype(float), tall).swapaxes(0, 1)
    expected = triangle(expected, wide).swapaxes(0, 1)
    top, left = (tall - size) // 2, (wide - size) // 2
    expected = expected[top : top + size, left : left + size]
    found = resized(file_of(Image.fromarray(pixels)), size=size, channels=3)
    assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
    np.testing.assert_allclose(found, expected, atol=1.51)  # rounded twice


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "rgb"),
    [
        ("RGB", (200, 100, 50), "jpeg", (200, 100, 50)),
        ("L", 90, "jpeg", (90, 90, 90)),
        ("CMYK", (0, 127, 191, 55), "jpeg", (200, 100, 50)),
        ("RGBA", (200, 100, 50, 7), "png", (200, 100, 50)),
        ("1", 1, "png", (255, 255, 255)),
    ],
)
def test_colours_become_those_of_the_channels(mode, colour, kind, rgb):
    data = file_of(Image.new(mode, (40, 50), colour), kind)
    found = resized(data, size=16, channels=3)
    np.testing.assert_allclose(found, np.broadcast_to(rgb, (16, 16, 3)), atol=2)
    grey = resized(data, size=16, channels=1)
    assert grey.shape == (16, 16, 1)
    np.testing.assert_allclose(grey, np.dot(rgb, (0.299, 0.587, 0.114)), atol=2)


def test_a_palette_is_looked_up():
    image = Image.fromarray(np.eye(40, dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    found = resized(file_of(image), size=35, channels=3)
    np.testing.assert_array_equal(found[0, 1], (10, 20, 30))
    np.testing.assert_array_equal(found[7, 7], (200, 100, 50))


def test_an_unlabelled_test_split_is_left_out(photo_set):
    splits, names = records_of(Path(photo_set, "photos/1.0.0"), image_size=14)
    assert names == ["n01", "n02", "n03"]
    assert {title: each.shape for title, each in splits.items()} == {
        "train": (24, 14, 14, 3),
        "validation": (9, 14, 14, 3),
    }
    assert splits["train"].nbytes == 24 * 14 * 14 * 3


def test_what_cannot_be_resized_is_refused(write_set, tmp_path, squares_builder):
    import tensorflow_datasets as tfds

    image = tfds.features.Image(shape=(6, 5, 1), dtype=np.uint16)
    folder = write_set(
        tmp_path,
        FEATURES={**squares_builder.FEATURES, "image": image},
        _generate_examples=lambda self, count: iter(
            [(i, {"image": io.BytesIO(b""), "label": i % 2}) for i in range(count)]
        ),
    )
    with pytest.raises(
        ValueError, match=r"images of uint16 with 1 channels\. Only uint8"
    ):
        records_of(folder, image_size=8)
