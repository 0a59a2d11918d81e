"""Matrices in files: read, kept, made once."""

import json

import numpy as np
import pytest

from robustlabels.matrices import files

MATRIX = np.array([[0.0, 1.0], [0.25, 0.75]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.txt", "0 1\n0.25 0.75\n"),
        ("m.csv", "# a comment\n0, 1\n\n0.25,0.75"),
        ("m", "0\t1 # a row\n.25 .75"),
    ],
)
def test_text_is_read(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    np.testing.assert_array_equal(files.read_matrix(str(tmp_path / name)), MATRIX)


def test_npy_is_read(tmp_path):
    np.save(tmp_path / "m.npy", MATRIX.astype(np.float32))
    found = files.read_matrix(str(tmp_path / "m.npy"))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, MATRIX)


@pytest.mark.parametrize("content", ["0 1\n0", "a b", "\x00"])
@pytest.mark.parametrize("name", ["m.txt", "m.npy"])
def test_what_is_no_matrix_is_refused(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"holds no matrix of numbers .*write a \.npy"):
        files.read_matrix(str(tmp_path / name))


@pytest.mark.parametrize("path", ["", "nowhere.npy"])
def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=f"path={path}: there is no such file"):
        files.read_matrix(path)


def test_a_matrix_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return MATRIX

    path = tmp_path / "run" / "similarity.npz"
    for _ in range(2):
        found = files.kept(make, ["cat", "dog"], {"name": "lda"}, path=path)
        np.testing.assert_array_equal(found, MATRIX)
    assert len(made) == 1
    with np.load(path) as arrays:
        assert arrays["class_names"].tolist() == ["cat", "dog"]
        assert json.loads(str(arrays["source"])) == {"name": "lda"}


def test_a_damaged_file_is_not_believed(tmp_path):
    path = tmp_path / "similarity.npz"
    files.keep(path, ["cat", "dog"], {}, matrix=MATRIX)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"similarity\.npz is truncated"):
        files.kept(lambda: MATRIX, ["cat", "dog"], {}, path=path)
