import gzip

import numpy as np
import pytest

from robustlabels.data import load
from robustlabels.data.idx import load_idx, read_idx

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([0, 1, 2, 1, 0], np.uint8)


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture(params=["", ".gz"], ids=["plain", "gz"])
def folder(request, tmp_path):
    for prefix in ("train", "t10k"):
        for name, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
            data = idx_bytes(array)
            path = tmp_path / f"{prefix}-{name}-ubyte{request.param}"
            path.write_bytes(gzip.compress(data) if request.param else data)
    return tmp_path


def test_the_four_files_are_read(folder):
    source = load_idx(str(folder))
    np.testing.assert_array_equal(source.train.images[..., 0], IMAGES)
    np.testing.assert_array_equal(source.test.labels, LABELS)
    assert source.validation is None
    assert source.class_names == ("0", "1", "2")


def test_a_missing_file_is_named(folder):
    next(folder.glob("t10k-labels*")).unlink()
    message = "neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz"
    with pytest.raises(FileNotFoundError, match=message):
        load_idx(str(folder))


@pytest.mark.parametrize("keep", [0, 3, 9, 0.5, 0.99])
def test_a_truncated_file_is_named(folder, keep):
    path = next(folder.glob("train-images*"))
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if keep >= 1 else int(keep * len(whole))])
    with pytest.raises(ValueError, match=f"{path.name} (is truncated|starts|holds)"):
        load_idx(str(folder))


def test_damaged_gzip_is_named(tmp_path):
    data = bytearray(gzip.compress(idx_bytes(LABELS)))
    data[20] ^= 0xFF
    (tmp_path / "labels.gz").write_bytes(data)
    with pytest.raises(ValueError, match=r"labels\.gz is truncated or not a gzip file"):
        read_idx(tmp_path / "labels.gz", ndim=1)


def test_bytes_too_many_are_told(tmp_path):
    (tmp_path / "labels").write_bytes(idx_bytes(LABELS) + b"\0")
    message = r"labels holds 14 bytes, not the 13 of an array of shape \[5\]"
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "labels", ndim=1)


def test_a_wrong_magic_number_is_told(tmp_path):
    (tmp_path / "labels").write_bytes(idx_bytes(LABELS))
    message = "labels starts with the bytes 00 00 08 01.* 3 dimensions .* 00 00 08 03"
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "labels", ndim=3)


def test_numbers_of_images_and_labels_that_differ(tmp_path):
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS[1:]))
    with pytest.raises(
        ValueError, match=r"train: 5 images, but labels of shape \(4,\)"
    ):
        load_idx(str(tmp_path))


def examples(*splits):
    """All examples, sorted, one row of bytes each."""
    rows = np.concatenate(
        [
            np.concatenate(
                [split.images.reshape(len(split.labels), -1), split.labels[:, None]],
                axis=1,
                dtype=np.uint8,
                casting="unsafe",
            )
            for split in splits
        ]
    )
    return np.sort(np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").ravel())


def test_the_original_mnist_has_the_examples_of_the_prepared_one(published):
    original = load(f"idx:{published / 'raw' / 'mnist'}")
    prepared = load("mnist", data_dir=str(published / "tfds"))
    for mnist in (original, prepared):
        assert [len(split.labels) for split in mnist[1:4]] == [50_000, 10_000, 10_000]
        assert mnist.train.images.shape[1:] == (28, 28, 1)
        assert mnist.class_names == tuple("0123456789")
    assert (
        examples(original.train, original.validation)
        == examples(prepared.train, prepared.validation)
    ).all()
    assert (examples(original.test) == examples(prepared.test)).all()
