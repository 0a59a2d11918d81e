import importlib.util
import json
import os
import shutil

import numpy as np
import pytest

from robustlabels.data import Rows, decoding, load, prepare, prepared
from robustlabels.data.decoding import resized
from robustlabels.data.prepared import find_prepared, load_prepared


@pytest.fixture(scope="module")
def squares(write_set, tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    write_set(root, "squares")
    return root


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "robustlabels"


def fails(folder):
    raise AssertionError("decoded again")


def test_a_prepared_set_is_read_with_its_class_names(squares):
    source = load_prepared("squares", data_dir=str(squares))
    assert source.train.images.shape == (12, 6, 5, 3)
    assert source.test.images.shape == (6, 6, 5, 3)
    assert source.validation is None
    assert source.class_names == ("dark", "light")
    colours = source.train.images[:, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(colours), 10 * np.arange(12))
    np.testing.assert_array_equal(source.train.labels, colours // 10 % 2)


def test_decoded_once_and_read_from_the_cache_after(
    squares, own_cache, monkeypatch, capsys
):
    first = load_prepared("squares", data_dir=str(squares))
    monkeypatch.setattr(prepared, "_decode", fails)
    second = load_prepared("squares", data_dir=str(squares))
    assert len(list(own_cache.iterdir())) == 1
    for old, new in zip(
        first.train + first.test, second.train + second.test, strict=True
    ):
        np.testing.assert_array_equal(old, new)
        assert old.dtype == new.dtype
    assert first.class_names == second.class_names
    assert "Decoding" not in capsys.readouterr().err  # no terminal, no bar


def test_other_content_is_decoded_again(write_set, own_cache, tmp_path):
    load_prepared(
        "squares", data_dir=str(write_set(tmp_path / "1", "squares").parents[1])
    )
    other = write_set(tmp_path / "2", "squares", SPLITS={"train": 14, "test": 6})
    source = load_prepared("squares", data_dir=str(other.parents[1]))
    assert len(source.train.labels) == 14
    assert len(list(own_cache.iterdir())) == 2


def test_more_records_than_one_call_decodes(write_set, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_RECORDS_PER_CALL", 2)
    write_set(tmp_path, SPLITS={"train": 13, "validation": 5, "test": 10})
    source = load_prepared("variant", data_dir=str(tmp_path))
    assert [len(split.labels) for split in source[:3]] == [13, 5, 10]
    np.testing.assert_array_equal(
        np.sort(source.train.images[:, 0, 0, 0]), 10 * np.arange(13)
    )


def test_the_newest_version_counts(squares, write_set, tmp_path):
    import tensorflow_datasets as tfds

    for version in ("2.0.0", "10.0.0", "9.0.0"):
        write_set(tmp_path, VERSION=tfds.core.Version(version))
    (tmp_path / "variant" / "incomplete.ABC_11.0.0").mkdir()
    (tmp_path / "variant" / "incomplete.ABC_11.0.0" / "dataset_info.json").touch()
    assert find_prepared("variant", data_dir=str(tmp_path)).name == "10.0.0"


def test_the_environment_and_the_home_folder_say_where(squares, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(squares))
    assert find_prepared("squares") == squares / "squares" / "1.0.0"
    assert find_prepared("squares", data_dir=str(tmp_path)) is None
    monkeypatch.delenv("TFDS_DATA_DIR")
    (tmp_path / "tensorflow_datasets").symlink_to(squares)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_prepared("squares") is not None


def test_a_missing_set_is_explained_and_leaves_no_folder(squares):
    with pytest.raises(FileNotFoundError) as caught:
        load_prepared("mnist", data_dir=str(squares))
    for part in (
        f"'mnist' is not prepared in {squares} (there: squares)",
        f"robustlabels data prepare mnist --data_dir={squares}",
        "--config.data.data_dir=",
        "TFDS_DATA_DIR",
        "'digits', 'fake', 'idx:FOLDER' and 'npz:FILE'",
    ):
        assert part in str(caught.value)
    assert not (squares / "mnist").exists()


def test_no_folder_is_made_where_there_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_prepared("mnist", data_dir=str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "name", ["", "a b", "../squares", "/etc", "tfds:mnist", "fake"]
)
def test_a_name_that_is_none(name):
    with pytest.raises(ValueError, match=r"is not a name .*'digits', 'fake', 'idx:"):
        find_prepared(name)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "overwritten"])
def test_a_damaged_file_is_told_with_its_folder(write_set, tmp_path, split, damage):
    folder = write_set(tmp_path)
    path = next(folder.glob(f"*-{split}.array_record*"))
    data = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(data[:-100])
    elif damage == "empty":
        path.touch()
    elif damage == "overwritten":
        start = data.index(b"PNG")
        path.write_bytes(data[:start] + bytes(50) + data[start + 50 :])
    with pytest.raises(ValueError, match=rf"{folder} cannot be read: .*delete it"):
        load_prepared("variant", data_dir=str(tmp_path))


def test_damaged_metadata_are_told(write_set, tmp_path):
    folder = write_set(tmp_path)
    info = folder / "dataset_info.json"
    info.write_text(info.read_text()[:50])
    with pytest.raises(ValueError, match=rf"{folder} cannot be read"):
        load_prepared("variant", data_dir=str(tmp_path))


def test_a_format_that_needs_tensorflow_is_refused(write_set, tmp_path):
    info = write_set(tmp_path) / "dataset_info.json"
    fields = json.loads(info.read_text()) | {"fileFormat": "tfrecord"}
    info.write_text(json.dumps(fields))
    message = "stored as tfrecord, which only TensorFlow reads.*ArrayRecord"
    for use in (load_prepared, prepare):
        with pytest.raises(ValueError, match=message):
            use("variant", data_dir=str(tmp_path))


def test_features_and_splits_that_cannot_be_used(write_set, tmp_path, squares_builder):
    import tensorflow_datasets as tfds

    image = {"image": squares_builder.FEATURES["image"]}
    write_set(tmp_path, "unlabelled", FEATURES=image)
    write_set(tmp_path, "untrained", SPLITS={"test": 3})
    free = {
        **squares_builder.FEATURES,
        "image": tfds.features.Image(shape=(None, 5, 3)),
    }
    write_set(tmp_path, "many_sizes", FEATURES=free)
    for name, message in (
        ("unlabelled", r"has the features \['image'\] .*'image' and 'label'"),
        ("untrained", r"the splits \['test'\].* the split 'train'"),
        (
            "many_sizes",
            r"images of many sizes \(shape \(None, 5, 3\)\).*image_size=224",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            load_prepared(name, data_dir=str(tmp_path))


def test_labels_without_names_are_numbered(write_set, tmp_path, squares_builder):
    import tensorflow_datasets as tfds

    plain = {**squares_builder.FEATURES, "label": tfds.features.Scalar(np.int64)}
    write_set(tmp_path, FEATURES=plain)
    assert load_prepared("variant", data_dir=str(tmp_path)).class_names == ("0", "1")


def test_prepare_without_tensorflow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'robustlabels\[prepare\]'"):
        prepare("mnist", data_dir=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_prepare_writes_what_load_reads_and_then_does_nothing(
    squares_builder, tmp_path, monkeypatch, capsys
):
    # This builder needs TensorFlow for nothing: only the question for it is answered.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "found")
    folder = prepare("noisy_squares", data_dir=str(tmp_path))
    assert load("noisy_squares", data_dir=str(tmp_path)).num_classes == 2
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    capsys.readouterr()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert prepare("noisy_squares", data_dir=str(tmp_path)) == folder
    assert (
        capsys.readouterr().out == f"noisy_squares is already prepared in {folder}.\n"
    )
    assert written == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_cifar10_comes_decoded_and_comes_back(published, monkeypatch):
    import tensorflow_datasets as tfds

    root = str(published / "tfds")
    first = load_prepared("cifar10", data_dir=root)
    assert first.train.images.shape == (50_000, 32, 32, 3)
    assert first.test.images.shape == (10_000, 32, 32, 3)
    assert first.class_names[:3] == ("airplane", "automobile", "bird")
    records = tfds.data_source("cifar10", data_dir=root, split="train", download=False)
    some = [0, 999, 1000, 31_415, 49_999]
    for i, record in zip(some, records.__getitems__(some), strict=True):
        np.testing.assert_array_equal(first.train.images[i], record["image"])
        assert first.train.labels[i] == record["label"]
    monkeypatch.setattr(prepared, "_decode", fails)
    second = load_prepared("cifar10", data_dir=root)
    for old, new in zip(
        first.train + first.test, second.train + second.test, strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_a_hundred_classes(published):
    cifar = load("cifar100_fifth", data_dir=str(published / "tfds"), balanced=True)
    assert cifar.num_classes == 100
    assert cifar.class_names[-1] == "worm"
    counts = np.bincount(cifar.train.labels)
    assert set(counts) <= {83, 84}


def test_a_set_of_texts_is_no_set_of_images(published):
    with pytest.raises(ValueError, match=r"trec has the features .*'text'"):
        load("trec", data_dir=str(published / "tfds"))


def assert_same(one, other):
    for old, new in zip(one[:3], other[:3], strict=True):
        assert (old is None) == (new is None)
        if old is not None:
            assert old.images.dtype == new.images.dtype
            np.testing.assert_array_equal(old.images[:], new.images[:])
            np.testing.assert_array_equal(old.labels, new.labels)
    assert one.class_names == other.class_names


def test_photos_of_many_sizes_come_as_squares(photo_set, photos, own_cache):
    source = load_prepared("photos", data_dir=photo_set, image_size=14)
    assert source.test is None
    for title in ("train", "validation"):
        split = getattr(source, title)
        expected = sorted(
            (resized(data, size=14, channels=3).tolist(), label)
            for data, label in photos[title]
        )
        found = zip(split.images.tolist(), split.labels.tolist(), strict=True)
        assert sorted(found) == expected
    load_prepared("photos", data_dir=photo_set, image_size=7)
    assert len(list(own_cache.iterdir())) == 2


def test_images_of_one_size_can_be_resized_too(squares, own_cache):
    source = load_prepared("squares", data_dir=str(squares), image_size=7)
    assert source.test.images.shape == (6, 7, 7, 3)
    colours = source.train.images[:, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(colours), 10 * np.arange(12))
    as_stored = load_prepared("squares", data_dir=str(squares))
    np.testing.assert_array_equal(as_stored.train.labels, source.train.labels)


def test_what_is_large_stays_on_disk_and_is_the_same(photo_set, own_cache, monkeypatch):
    options = {"data_dir": photo_set, "image_size": 14}
    in_memory = load_prepared("photos", **options)
    (file,) = own_cache.iterdir()
    file.unlink()
    monkeypatch.setattr(prepared, "_LARGE", 0)
    first = load_prepared("photos", **options)
    monkeypatch.setattr(prepared, "records_of", fails)
    second = load_prepared("photos", **options)
    for on_disk in (first, second):
        assert isinstance(on_disk.train.images, Rows)
        assert isinstance(on_disk.validation.images, Rows)
        assert_same(on_disk, in_memory)
    assert {path.name.removeprefix(file.stem) for path in own_cache.iterdir()} == {
        ".npz",
        ".lock",
        ".train_images.npy",
        ".validation_images.npy",
    }


def test_a_decoding_that_is_broken_off_is_begun_again(
    photo_set, own_cache, monkeypatch
):
    monkeypatch.setattr(prepared, "_LARGE", 0)
    monkeypatch.setattr(decoding, "_RECORDS_PER_CALL", 2)
    options = {"data_dir": photo_set, "image_size": 14}
    calls = []

    def interrupted(data, **options):
        calls.append(data)
        if len(calls) == 28:  # within the validation split
            raise KeyboardInterrupt
        return resized(data, **options)

    monkeypatch.setattr(decoding, "resized", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_prepared("photos", **options)
    left = {path.suffixes[-2] for path in own_cache.iterdir() if path.suffixes[1:]}
    assert left == {".train_images"}
    source = load_prepared("photos", **options)
    assert len(calls) > 28 + 24
    monkeypatch.setattr(prepared, "_LARGE", 2**30)
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_cache / "another"))
    assert_same(source, load_prepared("photos", **options))


def test_too_little_space_is_told_before_decoding(photo_set, own_cache, monkeypatch):
    monkeypatch.setattr(prepared, "_LARGE", 0)
    monkeypatch.setattr(decoding, "resized", fails)
    nothing = shutil.disk_usage("/")._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nothing)
    message = r"robustlabels has 0\.0 GB of free space; photos-.*-14 takes 0\.0 GB"
    with pytest.raises(OSError, match=message):
        load_prepared("photos", data_dir=photo_set, image_size=14)


def test_a_damaged_photo_is_told_with_its_folder(photo_set, own_cache, monkeypatch):
    def damaged(data, **options):
        return resized(data[: len(data) // 2], **options)

    monkeypatch.setattr(decoding, "resized", damaged)
    for large in (0, 2**30):
        monkeypatch.setattr(prepared, "_LARGE", large)
        with pytest.raises(
            ValueError, match=r"photos/1\.0\.0 cannot be read: image file"
        ):
            load_prepared("photos", data_dir=photo_set, image_size=14)


def test_of_large_sets_names_sizes_and_times_are_the_key(
    write_set, own_cache, tmp_path, monkeypatch
):
    folder = write_set(tmp_path, "squares")
    monkeypatch.setattr(prepared, "_HASHED", 0)

    def keys():
        load_prepared("squares", data_dir=str(tmp_path))
        return {path.name for path in own_cache.iterdir()}

    before = keys()
    assert keys() == before
    path = next(folder.glob("*-train.array_record*"))
    os.utime(path, ns=(0, 0))
    assert len(keys() - before) == 1
