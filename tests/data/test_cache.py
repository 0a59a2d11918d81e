import resource
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from robustlabels.data import cache

ARRAYS = {"images": np.arange(60_000, dtype=np.uint8), "names": np.array(["a", "b"])}

DIRECTORY = b"PK\x01\x02"  # with this a zip file's list of its contents starts


def kept(path, make):
    """What is read, or else made and written."""
    arrays = cache.read(path)
    if arrays is None:
        arrays = make()
        cache.write(path, arrays)
    return arrays


def fails():
    raise AssertionError("made again")


def assert_same(found):
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_made_once_then_read(tmp_path):
    path = tmp_path / "deep" / "arrays.npz"
    assert_same(kept(path, lambda: ARRAYS))
    assert_same(kept(path, fails))
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
    kept(path, lambda: ARRAYS)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if keep > 1 else int(keep * len(whole))])
    with pytest.warns(
        UserWarning, match=r"damaged cache file again.*arrays\.npz is truncated"
    ):
        assert_same(kept(path, lambda: ARRAYS))
    assert_same(kept(path, fails))


@pytest.mark.filterwarnings("ignore:Making a damaged cache file again")
def test_whatever_byte_of_an_array_is_damaged_it_is_noticed(tmp_path):
    path, small = tmp_path / "small.npz", {"x": np.arange(5), "names": np.array(["a"])}
    kept(path, lambda: small)
    whole = path.read_bytes()
    for i in range(whole.index(DIRECTORY)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x11]) + whole[i + 1 :])
        found = kept(path, lambda: small)
        assert {name: array.tolist() for name, array in found.items()} == {
            "x": [0, 1, 2, 3, 4],
            "names": ["a"],
        }


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "arrays.npz"
    with pytest.warns(UserWarning, match=r"cannot be written.*Set XDG_CACHE_HOME"):
        assert_same(kept(path, lambda: ARRAYS))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert_same(kept(tmp_path / "arrays.npz", lambda: ARRAYS))
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
path = folder / "cache" / "x.npz"
assert cache.read(path) is None
cache.write(path, make())
assert cache.read(path)["x"].sum() == 12499997500000
"""


def test_two_processes_at_once(tmp_path):
    command = [sys.executable, "-W", "error", "-c", RACE, str(tmp_path)]
    both = [
        subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE) for i in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["x.npz"]
    found = kept(tmp_path / "cache" / "x.npz", fails)
    np.testing.assert_array_equal(found["x"], np.arange(5_000_000))


PIECES = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)


def mapped(path, pieces=PIECES.__iter__):
    rows = (piece[None] for piece in pieces())
    return cache.mapped(path, "x", rows, shape=PIECES.shape, dtype=PIECES.dtype)


def test_an_array_on_disk_comes_back_as_a_memory_map(tmp_path):
    path = tmp_path / "some.npz"
    made = mapped(path)
    assert cache.read(path) is None  # nothing says yet that it is complete
    cache.write(path, {"x": made, "y": np.arange(3)})
    found = cache.read(path)
    assert sorted(found) == ["x", "y"]
    for array in (made, found["x"]):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, PIECES)
    assert path.stat().st_size < 1000
    assert {file.name for file in tmp_path.iterdir()} == {"some.npz", "some.x.npy"}


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_memory_map_is_made_again(tmp_path, damage):
    path, file = tmp_path / "some.npz", tmp_path / "some.x.npy"
    cache.write(path, {"x": mapped(path)})
    if damage == "missing":
        file.unlink()
        assert cache.read(path) is None
    else:
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.warns(UserWarning, match=r"again: .*some\.x\.npy is truncated"):
            assert cache.read(path) is None


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
    try:
        with pytest.raises(OSError, match=r"some\.x\.npy cannot be written.*XDG_CACHE"):
            mapped(tmp_path / "some.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_told_before_anything_is_made(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    cache.make_room(tmp_path / "some.npz", 10**9)
    message = r"has 1\.0 GB of free space; some takes 192\.5 GB\. Set XDG_CACHE_HOME"
    with pytest.raises(OSError, match=message):
        cache.make_room(tmp_path / "some.npz", 192_500_000_000)


# A process that is killed while it writes the third row.
KILLED = """
import os, pathlib, signal, sys
import numpy as np
from robustlabels.data import cache
def rows():
    yield np.zeros((2, 4, 3), np.uint8)
    os.kill(os.getpid(), signal.SIGKILL)
path = pathlib.Path(sys.argv[1])
with cache.alone(path):
    cache.mapped(path, "x", rows(), shape=(5, 4, 3), dtype=np.uint8)
"""


def test_a_kill_leaves_nothing_that_is_taken_for_whole_and_then_nothing(tmp_path):
    path, other = tmp_path / "some.npz", tmp_path / "some-224.npz"
    command = [sys.executable, "-c", KILLED, str(path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    (left,) = (file for file in tmp_path.iterdir() if file.suffix != ".lock")
    assert left.name.startswith("some.x.npy.")
    assert cache.read(path) is None
    mapped(other)
    with cache.alone(path):
        cache.make_room(path, 0)
        cache.write(path, {"x": mapped(path)})
    np.testing.assert_array_equal(cache.read(path)["x"], PIECES)
    assert {file.name for file in tmp_path.iterdir()} == {
        "some.lock",
        "some.npz",
        "some.x.npy",
        "some-224.x.npy",
    }


def test_while_one_makes_a_file_another_one_waits(tmp_path, capsys):
    path, said, entered = tmp_path / "some.npz", "", threading.Event()

    def enter():
        with cache.alone(path):
            entered.set()

    other = threading.Thread(target=enter)
    with cache.alone(path):
        other.start()
        while not said:
            time.sleep(0.01)
            said = capsys.readouterr().err
        assert not entered.is_set()
    other.join()
    assert said == f"Another process makes {path}: waiting for it.\n"
    assert entered.is_set()
