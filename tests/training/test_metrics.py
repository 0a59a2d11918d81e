"""Metrics, read back from both files."""

import json

import pytest
from tensorboard_events import read_scalars

from robustlabels.training import MetricsWriter

FIGURES = [
    (3, {"epoch": 1, "train_loss": 0.1 + 0.2, "learning_rate": 1e-30}),
    (6, {"epoch": 2, "train_loss": 1.5, "learning_rate": 0.0}),
]


def lines_of(folder):
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_every_figure_is_in_both_files(tmp_path):
    folder = tmp_path / "new" / "run"
    with MetricsWriter(folder) as writer:
        for step, figures in FIGURES:
            writer.write(step, figures)
    assert lines_of(folder) == [{"step": step, **f} for step, f in FIGURES]
    assert read_scalars(folder) == {
        name: [(step, pytest.approx(f[name], rel=1e-6)) for step, f in FIGURES]
        for name in FIGURES[0][1]
    }


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for i, (step, figures) in enumerate(FIGURES, start=1):
            writer.write(step, figures)
            assert len(lines_of(tmp_path)) == i


def test_lines_are_added_to_what_is_there(tmp_path):
    for step, figures in FIGURES:
        with MetricsWriter(str(tmp_path)) as writer:
            writer.write(step, figures)
    assert [line["step"] for line in lines_of(tmp_path)] == [3, 6]
