"""Codebooks: what is one, stretched to a range, and read from files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robustlabels.labels import check_codebook, from_file, rescale

CODEBOOK = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def changed(i, value):
    codebook = CODEBOOK.copy()
    codebook[i] = value
    return codebook


@pytest.mark.parametrize(
    ("codebook", "message"),
    [
        (CODEBOOK[:2], "has 2 labels for 3 classes"),
        (changed(1, np.nan), "class 1 has NaN or infinite entries"),
        (changed(2, np.inf), "class 2 has NaN"),
        (CODEBOOK.astype(np.float64) * 1e300, "class 0 has NaN or infinite"),
        (changed(2, CODEBOOK[0]), "labels of classes 0 and 2 are equal"),
        (np.array([[0.0], [-0.0], [1.0]]), "classes 0 and 1 are equal"),
        (np.zeros((3, 0)), r"float64 and shape \(3, 0\) is not one array of numbers"),
        (np.arange(3), r"shape \(3,\) is not"),
        (np.array([["a"], ["b"], ["c"]]), "a codebook of <U1"),
        (CODEBOOK + 0j, "a codebook of complex64"),
    ],
)
def test_what_is_no_codebook(codebook, message):
    with pytest.raises(ValueError, match=message):
        check_codebook(codebook, num_classes=3)


def test_one_class_is_none_to_tell_apart():
    with pytest.raises(ValueError, match=r"num_classes=1 is not .* at least 2"):
        check_codebook(CODEBOOK[:1], num_classes=1)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    codebook=arrays.arrays(
        np.float32, (3, 4), elements=st.floats(-1e3, 1e3, width=32)
    ).filter(lambda x: np.ptp(x) > 1e-3),
    low=st.floats(-100, 100),
    span=st.floats(0.1, 100),
)
def test_rescaling_fills_the_range_and_keeps_the_proportions(codebook, low, span):
    found = rescale(codebook, low=low, high=low + span)
    assert found.dtype == np.float32
    assert found.min() == np.float32(low)
    np.testing.assert_allclose(found.max(), low + span, rtol=1e-6, atol=1e-5)
    shares = np.interp(codebook, [codebook.min(), codebook.max()], [0, 1])
    np.testing.assert_allclose((found - low) / span, shares, atol=1e-3)


@pytest.mark.parametrize(
    ("codebook", "range_", "message"),
    [
        (np.ones((2, 3)), {}, "all entries of the codebook are 1"),
        (np.array([[0.0], [np.nan]]), {}, "an entry of codebook=nan is outside"),
        (
            np.eye(2),
            {"low": 80.0},
            r"low=80.0 is not below high=80.0, or not finite\. Labels",
        ),
        (np.eye(2), {"high": np.inf}, "high=inf, or not finite"),
    ],
)
def test_what_is_not_rescaled(codebook, range_, message):
    with pytest.raises(ValueError, match=message):
        rescale(codebook, **range_)


def test_files_are_read_as_they_are(tmp_path):
    np.save(tmp_path / "a.npy", CODEBOOK.astype(np.float64))
    np.savez(tmp_path / "b.npz", anything=CODEBOOK)
    np.savez(tmp_path / "c.npz", codebook=CODEBOOK, class_names=np.array(["a", "b"]))
    for name in ("a.npy", "b.npz", "c.npz"):
        found = from_file(3, str(tmp_path / name))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, CODEBOOK)


def test_files_that_hold_no_codebook(tmp_path):
    np.savez(tmp_path / "two.npz", a=CODEBOOK, b=CODEBOOK)
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("0 1\n1 0\n")
    np.save(tmp_path / "objects.npy", np.array([None, 1]), allow_pickle=True)
    whole = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "turned.npz").write_bytes(whole.replace(b"NUMPY", b"NUMPI"))
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=r"holds no codebook \(.*np\.savez"):
            from_file(3, path)
    with pytest.raises(ValueError, match="arrays a, b"):
        from_file(3, tmp_path / "two.npz")


def test_files_are_missing_or_of_other_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npy: there is no such file"):
        from_file(3, tmp_path / "nowhere.npy")
    np.save(tmp_path / "a.npy", CODEBOOK)
    with pytest.raises(ValueError, match="3 labels for 4 classes"):
        from_file(4, tmp_path / "a.npy")
