import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.data import Rows, class_partners, load, prepared

IMAGES = np.arange(40, dtype=np.uint8).repeat(4).reshape(40, 2, 2)  # each is its number
LABELS = np.repeat([0, 1], [30, 10])


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A set whose pixels say which example they are of."""
    path = tmp_path_factory.mktemp("numbered") / "arrays.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    return f"npz:{path}"


def numbers(split):
    return split.images[:, 0, 0, 0].tolist()


def test_every_example_is_in_one_split_with_its_label(numbered):
    data = load(numbered, test_fraction=0.25, validation_fraction=0.2)
    assert [len(split.labels) for split in data[1:4]] == [24, 6, 10]
    assert sorted(n for split in data[1:4] for n in numbers(split)) == list(range(40))
    for split in data[1:4]:
        np.testing.assert_array_equal(split.labels, LABELS[numbers(split)])
    assert data.name == numbered
    assert data.num_classes == 2


def test_balanced_splits_have_the_classes_in_proportion(numbered):
    data = load(numbered, test_fraction=0.2, validation_fraction=0.25, balanced=True)
    for split, counts in zip(data[1:4], [(18, 6), (6, 2), (6, 2)], strict=True):
        assert tuple(np.bincount(split.labels)) == counts


def test_equal_seeds_give_equal_splits_and_others_do_not(numbered):
    one, two, other = (load(numbered, seed=seed) for seed in (1, 1, 2))
    assert numbers(one.train) == numbers(two.train)
    assert numbers(one.test) == numbers(two.test)
    assert numbers(one.test) != numbers(other.test)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    small=st.floats(0.3, 1.0),
    large=st.floats(0.3, 1.0),
)
def test_a_fraction_is_the_beginning_of_a_larger_one(numbered, seed, small, large):
    small, large = sorted((small, large))
    options = {"seed": seed, "balanced": True, "validation_fraction": 0.25}
    less, more = (load(numbered, train_fraction=f, **options) for f in (small, large))
    assert len(less.train.labels) == round(small * 24)
    assert numbers(more.train)[: len(less.train.labels)] == numbers(less.train)
    assert numbers(less.validation) == numbers(more.validation)
    assert numbers(less.test) == numbers(more.test)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_tenth_of_the_digits_is_the_beginning_of_a_fifth(balanced):
    tenth, fifth = (
        load("digits", train_fraction=f, balanced=balanced).train for f in (0.1, 0.2)
    )
    assert (len(tenth.labels), len(fifth.labels)) == (120, 240)
    np.testing.assert_array_equal(tenth.images, fifth.images[:120])
    np.testing.assert_array_equal(tenth.labels, fifth.labels[:120])
    if balanced:
        assert set(np.bincount(tenth.labels)) <= {11, 12, 13}


def test_swaps_come_last_and_touch_the_training_labels_only(numbered):
    clean, noisy = (
        load(numbered, train_fraction=0.75, swap_rate=rate, seed=3)
        for rate in (0.0, 0.4)
    )
    for before, after in zip(clean[2:4], noisy[2:4], strict=True):
        np.testing.assert_array_equal(before.labels, after.labels)
    assert numbers(clean.train) == numbers(noisy.train)
    for data in (clean, noisy):
        np.testing.assert_array_equal(data.clean_labels, clean.train.labels)
        assert data.clean_labels.dtype == np.int32
    partners = class_partners(2, seed=3)
    for class_id, size in enumerate(np.bincount(clean.train.labels)):
        swapped = noisy.train.labels[clean.train.labels == class_id] != class_id
        assert swapped.sum() == round(0.4 * size)
    np.testing.assert_array_equal(partners, [1, 0])


def test_validation_labels_are_swapped_if_asked_for_and_test_labels_never():
    clean, noisy, noisier = (
        load("digits", seed=3, **options)
        for options in (
            {"noisy_validation": True},
            {"swap_rate": 0.4},
            {"swap_rate": 0.4, "noisy_validation": True},
        )
    )
    np.testing.assert_array_equal(noisy.validation.labels, clean.validation.labels)
    np.testing.assert_array_equal(noisier.train.labels, noisy.train.labels)
    for data in (noisy, noisier):
        np.testing.assert_array_equal(data.validation.images, clean.validation.images)
        np.testing.assert_array_equal(data.test.labels, clean.test.labels)
    partners = class_partners(10, seed=3)
    for class_id, size in enumerate(np.bincount(clean.validation.labels)):
        labels = noisier.validation.labels[clean.validation.labels == class_id]
        swapped = labels[labels != class_id]
        assert len(swapped) == round(0.4 * size)
        assert (swapped == partners[class_id]).all()


def test_statistics_are_those_of_the_training_split():
    digits = load("digits", train_fraction=0.5)
    pixels = digits.train.images.astype(np.float64)
    np.testing.assert_allclose(digits.mean, [pixels.mean()], rtol=1e-6)
    np.testing.assert_allclose(digits.std, [pixels.std()], rtol=1e-6)


def test_own_validation_and_test_splits_stay_as_they_are(tmp_path):
    arrays = {}
    for title, ids in (("train", range(24)), ("validation", range(24, 30))):
        arrays |= {
            f"{title}_images": IMAGES[ids],
            f"{title}_labels": np.arange(len(ids)) % 2,
        }
    arrays |= {"test_images": IMAGES[30:], "test_labels": LABELS[30:]}
    np.savez(tmp_path / "own.npz", **arrays)
    data = load(f"npz:{tmp_path / 'own.npz'}", swap_rate=0.3)
    assert numbers(data.validation) == list(range(24, 30))
    assert numbers(data.test) == list(range(30, 40))
    assert sorted(numbers(data.train)) == list(range(24))


def test_a_validation_split_alone_is_the_test_split(tmp_path):
    np.savez(
        tmp_path / "two.npz",
        train_images=IMAGES[:30],
        train_labels=np.arange(30) % 2,
        validation_images=IMAGES[30:],
        validation_labels=LABELS[30:],
    )
    data = load(f"npz:{tmp_path / 'two.npz'}", validation_fraction=0.2)
    assert numbers(data.test) == list(range(30, 40))
    assert sorted(numbers(data.validation) + numbers(data.train)) == list(range(30))
    assert len(data.validation.labels) == 6


@pytest.fixture(scope="module")
def lettered(tmp_path_factory):
    """A set like `numbered` whose image of number i is of class i % 5, "a" to "e"."""
    path = tmp_path_factory.mktemp("lettered") / "arrays.npz"
    np.savez(path, images=IMAGES, labels=np.arange(40) % 5, class_names=[*"abcde"])
    return f"npz:{path}"


def test_nothing_is_left_out_unless_asked_for(lettered):
    assert load(lettered).left_out is None


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("left_out", [(1, 3), (3, 1), (0,), (2, 3, 4)])
def test_classes_that_are_left_out_are_in_no_split(lettered, left_out, balanced):
    options = {"test_fraction": 0.25, "balanced": balanced, "seed": 4}
    full = load(lettered, **options)
    data = load(
        lettered,
        left_out=left_out,
        validation_fraction=0.25,
        train_fraction=0.75,
        **options,
    )
    kept = [c for c in range(5) if c not in left_out]
    assert data.class_names == tuple("abcde"[c] for c in kept)
    for split in data[1:4]:
        assert split.labels.dtype == np.int32
        assert [kept[label] for label in split.labels] == [
            n % 5 for n in numbers(split)
        ]
    np.testing.assert_array_equal(data.clean_labels, data.train.labels)
    # Without leaving out, the test split is of the same images in the same order.
    assert numbers(data.test) == [n for n in numbers(full.test) if n % 5 in kept]
    assert numbers(data.left_out) == [
        n for n in numbers(full.test) if n % 5 in left_out
    ]
    assert data.left_out.labels.tolist() == [n % 5 for n in numbers(data.left_out)]
    # The other counts are of what is kept.
    rest = 8 * len(kept) - len(data.test.labels)
    size = round(0.25 * rest)
    assert len(data.validation.labels) == size
    assert len(data.train.labels) == round(0.75 * (rest - size))
    assert len({n for split in data[1:4] for n in numbers(split)}) == sum(
        len(split.labels) for split in data[1:4]
    )
    pixels = data.train.images / 255
    np.testing.assert_allclose(data.mean, [pixels.mean()], rtol=1e-6)
    np.testing.assert_allclose(data.std, [pixels.std()], rtol=1e-6)


def test_labels_are_swapped_among_the_classes_that_are_kept():
    clean, noisy = (
        load("digits", left_out=(0, 4, 9), swap_rate=rate) for rate in (0.0, 0.4)
    )
    partners = class_partners(7, seed=0)
    for class_id, size in enumerate(np.bincount(clean.train.labels)):
        labels = noisy.train.labels[clean.train.labels == class_id]
        swapped = labels[labels != class_id]
        alone = partners[class_id] == class_id
        assert len(swapped) == (0 if alone else round(0.4 * size))
        assert (swapped == partners[class_id]).all()
    np.testing.assert_array_equal(noisy.left_out.labels, clean.left_out.labels)
    assert set(clean.left_out.labels) == {0, 4, 9}


def test_own_splits_lose_the_classes_that_are_left_out(tmp_path):
    arrays = {}
    for title, ids in (("train", range(24)), ("validation", range(24, 30))):
        arrays |= {f"{title}_images": IMAGES[ids], f"{title}_labels": np.array(ids) % 3}
    arrays |= {"test_images": IMAGES[30:], "test_labels": np.arange(30, 40) % 3}
    np.savez(tmp_path / "own.npz", **arrays)
    data = load(f"npz:{tmp_path / 'own.npz'}", left_out=(1,))
    assert sorted(numbers(data.train)) == [n for n in range(24) if n % 3 != 1]
    assert numbers(data.validation) == [24, 26, 27, 29]
    assert data.validation.labels.tolist() == [0, 1, 0, 1]
    assert numbers(data.test) == [30, 32, 33, 35, 36, 38, 39]
    assert numbers(data.left_out) == [31, 34, 37]
    assert data.left_out.labels.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ((5,), r"left_out: 5 is no class. Write numbers in \[0, 4\]"),
        ((1, -1), "left_out: -1 is no class"),
        ((1, 3, 1), r"left_out: class 1 \('b'\) is given twice. Name it once"),
        (
            (0, 1, 2, 4),
            r"left_out=\(0, 1, 2, 4\) keeps 1 of 5 classes.*leave out 3 at most",
        ),
    ],
)
def test_what_cannot_be_left_out_is_named(lettered, left_out, message):
    with pytest.raises(ValueError, match=message):
        load(lettered, left_out=left_out)


@pytest.mark.parametrize(("left_out", "which"), [((4,), "left out"), ((0, 1), "kept")])
def test_test_images_are_needed_of_what_is_left_out_and_of_what_is_kept(
    tmp_path, left_out, which
):
    np.savez(
        tmp_path / "few.npz",
        train_images=IMAGES[:30],
        train_labels=np.arange(30) % 5,
        test_images=IMAGES[30:],
        test_labels=np.arange(10) % 2,
    )
    message = rf"left_out=.*: no test image is of a class that is {which}. Choose"
    with pytest.raises(ValueError, match=message):
        load(f"npz:{tmp_path / 'few.npz'}", left_out=left_out)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"balanced": True, "train_fraction": 0.5, "swap_rate": 0.3},
        {"validation_fraction": 0.0, "seed": 1},
        {"left_out": (1,)},
    ],
)
def test_images_on_disk_are_split_like_those_in_memory(
    photo_set, monkeypatch, tmp_path, options
):
    """Of ImageNet's three splits: the test split has no labels."""
    options = {"data_dir": photo_set, "image_size": 14, **options}
    in_memory = load("photos", **options)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(prepared, "_LARGE", 0)
    on_disk = load("photos", **options)
    pairs = [*zip(on_disk[1:4], in_memory[1:4], strict=True)]
    if "left_out" in options:
        pairs.append((on_disk.left_out, in_memory.left_out))
    assert sum(len(mine.labels) for mine, _ in pairs[2:]) == 9
    for mine, expected in pairs:
        assert isinstance(mine.images, Rows)
        assert mine.images.shape == expected.images.shape
        np.testing.assert_array_equal(mine.images[:], expected.images)
        np.testing.assert_array_equal(mine.labels, expected.labels)
    np.testing.assert_array_equal(on_disk.mean, in_memory.mean)
    np.testing.assert_array_equal(on_disk.std, in_memory.std)
    np.testing.assert_array_equal(on_disk.clean_labels, in_memory.clean_labels)


@pytest.mark.parametrize("name", ["digits", "fake", "npz:mine.npz", "idx:folder"])
def test_only_prepared_sets_are_resized(name):
    with pytest.raises(ValueError, match=f"image_size=8: only .* not '{name}'"):
        load(name, image_size=8)


def test_no_validation_split_can_be_asked_for(numbered):
    data = load(numbered, validation_fraction=0.0)
    assert data.validation.images.shape == (0, 2, 2, 1)
    assert len(data.train.labels) == 32


def test_the_fake_takes_sizes_and_others_do_not(numbered):
    data = load("fake", num_examples=30, num_classes=3, image_shape=(5, 4, 3))
    assert data.train.images.shape == (20, 5, 4, 3)
    assert data.num_classes == 3
    with pytest.raises(ValueError, match="only name='fake' has sizes, not 'digits'"):
        load("digits", num_examples=30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, r"validation_fraction=1.0 is outside \[0, 1\)"),
        ({"validation_fraction": -0.1}, "validation_fraction=-0.1 is outside"),
        ({"test_fraction": 0.0}, r"test_fraction=0.0 is outside \(0, 1\)"),
        ({"train_fraction": 0.0}, r"train_fraction=0.0 is outside \(0, 1\]"),
        ({"train_fraction": 20.0}, "train_fraction=20.0 .*not .*a percentage"),
        ({"train_fraction": float("nan")}, "train_fraction=nan is outside"),
        ({"swap_rate": 0.5}, r"swap_rate=0.5 is outside \[0, 0.5\)"),
        ({"seed": -1}, "seed=-1 is not a whole number of at least 0"),
        ({"image_size": -1}, "image_size=-1 is not a whole number of at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused_before_any_work(options, message):
    with pytest.raises(ValueError, match=message):
        load("npz:there is no such file", **options)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_fraction_that_loses_a_class_says_which_one_would_not(balanced):
    with pytest.raises(ValueError, match="Each class needs one at least") as caught:
        load("digits", train_fraction=0.005, balanced=balanced)
    message = str(caught.value)
    assert "train_fraction=0.005 keeps 6 of 1198 training images and none of" in message
    enough = float(message.split("train_fraction=")[-1].split(" ")[0])
    assert load("digits", train_fraction=enough, balanced=balanced).num_classes == 10


def test_splits_that_lose_a_class_say_so(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES[:4], labels=[0, 0, 0, 1])
    name = f"npz:{tmp_path / 'a.npz'}"
    with pytest.raises(ValueError, match=r"leave no training image of class 0 \('0'\)"):
        load(name, seed=0, test_fraction=0.75, validation_fraction=0.0)


def test_splits_of_no_image_say_so(numbered):
    with pytest.raises(ValueError, match=r"test_fraction=0.001 of 40 .* Write 0.025"):
        load(numbered, test_fraction=0.001)


def test_importing_does_not_import_what_only_some_sets_need():
    code = "import sys, robustlabels.data; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"tensorflow_datasets", "sklearn", "tensorflow"} & set(
        run.stdout.split()
    )
