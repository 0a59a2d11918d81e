import subprocess
import sys

import numpy as np
import pytest

from robustlabels.data import cache

ARRAYS = {"images": np.arange(60_000, dtype=np.uint8), "names": np.array(["a", "b"])}

DIRECTORY = b"PK\x01\x02"  # with this a zip file's list of its contents starts


def fails():
    raise AssertionError("made again")


def assert_same(found):
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_made_once_then_read(tmp_path):
    path = tmp_path / "deep" / "arrays.npz"
    assert_same(cache.cached(path, lambda: ARRAYS))
    assert_same(cache.cached(path, fails))
    assert list(path.parent.iterdir()) == [path]


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "robustlabels"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "robustlabels"


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_file_is_made_again(tmp_path, keep):
    path = tmp_path / "arrays.npz"
    cache.cached(path, lambda: ARRAYS)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if keep > 1 else int(keep * len(whole))])
    with pytest.warns(
        UserWarning, match=r"damaged cache file again.*arrays\.npz is truncated"
    ):
        assert_same(cache.cached(path, lambda: ARRAYS))
    assert_same(cache.cached(path, fails))


@pytest.mark.filterwarnings("ignore:Making a damaged cache file again")
def test_whatever_byte_of_an_array_is_damaged_it_is_noticed(tmp_path):
    path, small = tmp_path / "small.npz", {"x": np.arange(5), "names": np.array(["a"])}
    cache.cached(path, lambda: small)
    whole = path.read_bytes()
    for i in range(whole.index(DIRECTORY)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x11]) + whole[i + 1 :])
        found = cache.cached(path, lambda: small)
        assert {name: array.tolist() for name, array in found.items()} == {
            "x": [0, 1, 2, 3, 4],
            "names": ["a"],
        }


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "arrays.npz"
    with pytest.warns(UserWarning, match=r"cannot be written.*Set XDG_CACHE_HOME"):
        assert_same(cache.cached(path, lambda: ARRAYS))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert_same(cache.cached(tmp_path / "arrays.npz", lambda: ARRAYS))
    assert list(tmp_path.iterdir()) == []


# Each process says that it is making the arrays and waits until both do.
RACE = """
import pathlib, sys, time
import numpy as np
from robustlabels.data import cache
folder, me = pathlib.Path(sys.argv[1]), sys.argv[2]
def make():
    (folder / f"making-{me}").touch()
    while len(list(folder.glob("making-*"))) < 2:
        time.sleep(0.01)
    return {"x": np.arange(5_000_000)}
for _ in range(2):
    assert cache.cached(folder / "cache" / "x.npz", make)["x"].sum() == 12499997500000
"""


def test_two_processes_at_once(tmp_path):
    command = [sys.executable, "-W", "error", "-c", RACE, str(tmp_path)]
    both = [
        subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE) for i in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["x.npz"]
    found = cache.cached(tmp_path / "cache" / "x.npz", fails)
    np.testing.assert_array_equal(found["x"], np.arange(5_000_000))
