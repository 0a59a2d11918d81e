"""Files that appear as a whole, whatever happens while they are written."""

import subprocess
import sys

import pytest

from robustlabels._files import whole


def test_a_file_appears_with_all_that_was_written(tmp_path):
    path = tmp_path / "new" / "file.json"
    with whole(path) as file:
        file.write(b"one ")
        file.write(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"one two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_stays_if_writing_fails(tmp_path, error):
    path = tmp_path / "file.json"
    path.write_bytes(b"before")

    def fail():
        with whole(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_if_the_process_is_killed(tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(b"before")
    code = """
import os, pathlib, signal, sys
from robustlabels._files import whole
with whole(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    answer = subprocess.run([sys.executable, "-c", code, str(path)])
    assert answer.returncode == -9
    assert path.read_bytes() == b"before"
