"""Progress on a terminal and elsewhere, by a clock that the test holds."""

import io
import sys
import types

import pytest

from robustlabels import _progress
from robustlabels._progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Sets the time, in seconds."""
    now = [1000.0]
    fake = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(_progress, "time", fake)

    def to(seconds):
        now[0] = 1000.0 + seconds

    return to


def test_lines_are_seconds_apart_and_say_rate_and_time_left(clock, capsys):
    with Progress(total=400, what="training", unit="steps") as progress:
        for second in range(13):
            clock(float(second))
            progress.advance(10, epoch="1", loss=0.123456)
    out, err = capsys.readouterr()
    assert out == ""
    # After 5 s: 60 steps, 12 a second, 340 to go; after 10 s: 110 and 290.
    assert err.splitlines() == [
        "training: 60/400 steps, 12/s, 28 s left, epoch 1, loss 0.1235",
        "training: 110/400 steps, 11/s, 26 s left, epoch 1, loss 0.1235",
    ]


def test_figures_are_no_must(clock, capsys):
    with Progress(total=2, what="attacking", unit="batches") as progress:
        clock(8.0)
        progress.advance()
    assert capsys.readouterr().err == "attacking: 1/2 batches, 0.125/s, 8 s left\n"


def test_short_work_prints_nothing(clock, capsys):
    with Progress(total=1000, what="training", unit="steps") as progress:
        for i in range(1000):
            clock(4.99 * i / 1000)
            progress.advance()
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(total=3, what="training", unit="steps") as progress:
        for _ in range(3):
            progress.advance(loss=0.25)
    text = terminal.getvalue()
    assert "training:   0%" in text
    assert "0/3" in text
    assert "steps" in text
    assert "\n" not in text
    assert text.rsplit("\r", 2)[1].strip() == ""
    assert capsys.readouterr().out == ""


def test_the_bar_shows_figures(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(total=3, what="training", unit="steps") as progress:
        progress._bar.mininterval = 0.0
        progress.advance(2, epoch="1", loss=0.123456)
    assert "2/3" in terminal.getvalue()
    assert "epoch=1, loss=0.1235" in terminal.getvalue()
