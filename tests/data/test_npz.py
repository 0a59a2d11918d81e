import numpy as np
import pytest

from robustlabels.data.npz import load_npz

IMAGES = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def saved(path, **arrays):
    np.savez(path / "mine.npz", **arrays)
    return str(path / "mine.npz")


def test_one_pair_of_arrays(tmp_path):
    source = load_npz(saved(tmp_path, images=IMAGES, labels=LABELS))
    np.testing.assert_array_equal(source.train.images[..., 0], IMAGES)
    assert (source.validation, source.test) == (None, None)
    assert source.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    "style", ["{split}_images {split}_labels", "x_{split} y_{split}"]
)
def test_arrays_split_by_split(tmp_path, style):
    arrays = {}
    for split in ("train", "test"):
        arrays |= zip(style.format(split=split).split(), (IMAGES, LABELS), strict=True)
    source = load_npz(saved(tmp_path, **arrays))
    np.testing.assert_array_equal(source.test.labels, LABELS)
    assert source.validation is None


def test_validation_arrays_and_class_names(tmp_path):
    arrays = {
        f"{split}_{kind}": array
        for split in ("train", "validation", "test")
        for kind, array in (("images", IMAGES), ("labels", LABELS))
    }
    names = np.array(["a", "b", "c"])
    source = load_npz(saved(tmp_path, class_names=names, **arrays))
    np.testing.assert_array_equal(source.validation.labels, LABELS)
    assert source.class_names == ("a", "b", "c")


def test_keys_that_are_not_known_are_listed(tmp_path):
    path = saved(tmp_path, data=IMAGES, target=LABELS)
    message = r"keys \['data', 'target'\]. Name the arrays images and labels"
    with pytest.raises(ValueError, match=message):
        load_npz(path)


def test_images_without_labels(tmp_path):
    path = saved(tmp_path, images=IMAGES, y=LABELS)
    with pytest.raises(ValueError, match="has images but no labels"):
        load_npz(path)


def test_an_error_names_file_and_array(tmp_path):
    path = saved(tmp_path, x_train=IMAGES * 1.0, y_train=LABELS)
    with pytest.raises(ValueError, match=r"mine.npz, x_train: pixels lie in .*255"):
        load_npz(path)


@pytest.mark.parametrize("keep", [0, 0.3, 0.99])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_file(tmp_path, keep, save):
    path = tmp_path / "mine.npz"
    save(path, images=IMAGES, labels=LABELS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"mine.npz is truncated, or no npz file"):
        load_npz(str(path))


def test_an_npy_file_and_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "mine.npy", IMAGES)
    with pytest.raises(ValueError, match="no npz file of plain arrays"):
        load_npz(str(tmp_path / "mine.npy"))
    path = saved(tmp_path, images=np.array([None]), labels=LABELS)
    with pytest.raises(ValueError, match=r"no npz file of plain arrays .*pickle"):
        load_npz(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"npz:.*mine.npz: there is no such"):
        load_npz(str(tmp_path / "mine.npz"))
