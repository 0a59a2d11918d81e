import numpy as np
import pytest
from sklearn import datasets

from robustlabels.data.sources import fake, load_digits


def test_digits_are_those_of_scikit_learn():
    source, theirs = load_digits(), datasets.load_digits()
    np.testing.assert_array_equal(source.train.images[..., 0] * 16, theirs.images)
    np.testing.assert_array_equal(source.train.labels, theirs.target)
    assert source.train.images.dtype == np.float32
    assert (source.validation, source.test) == (None, None)
    assert source.class_names == tuple("0123456789")


def test_the_fake_repeats_and_has_the_sizes_asked_for():
    sizes = {"num_examples": 7, "num_classes": 3, "image_shape": (5, 4, 3)}
    one, two, other = (fake(seed=seed, **sizes).train for seed in (1, 1, 2))
    assert one.images.shape == (7, 5, 4, 3)
    assert one.images.dtype == np.uint8
    np.testing.assert_array_equal(one.images, two.images)
    assert (one.images != other.images).any()


def test_the_fake_is_learnable():
    images, labels = fake(seed=0).train
    images = images.reshape(len(images), -1).astype(float)
    means = np.stack([images[:300][labels[:300] == c].mean(0) for c in range(4)])
    distances = ((images[300:, None] - means) ** 2).sum(-1)
    assert (distances.argmin(1) == labels[300:]).mean() > 0.99


def test_the_fake_needs_an_example_of_each_class():
    with pytest.raises(ValueError, match=r"num_examples=3 is not .* at least 4"):
        fake(seed=0, num_examples=3)
