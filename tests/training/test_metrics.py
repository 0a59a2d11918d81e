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
    before = 0
    for step, figures in FIGURES:
        with MetricsWriter(str(tmp_path), after=before) as writer:
            writer.write(step, figures)
        before = step
    assert [line["step"] for line in lines_of(tmp_path)] == [3, 6]


@pytest.mark.parametrize(("after", "kept"), [(0, []), (3, [3]), (5, [3]), (6, [3, 6])])
def test_lines_of_later_steps_and_halves_are_taken_back(tmp_path, after, kept):
    with MetricsWriter(tmp_path) as writer:
        for step, figures in FIGURES:
            writer.write(step, figures)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "train_lo')
    with MetricsWriter(tmp_path, after=after):
        assert [line["step"] for line in lines_of(tmp_path)] == kept


def test_a_tag_names_the_replica_in_tensorboard(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(3, {"loss": 0.5}, tag="{}/seed_7")
    assert read_scalars(tmp_path) == {"loss/seed_7": [(3, 0.5)]}
    assert lines_of(tmp_path) == [{"step": 3, "loss": 0.5}]


def test_writers_that_follow_one_another_at_once_keep_all_events(tmp_path):
    for step in range(1, 31):
        with MetricsWriter(tmp_path, after=step - 1) as writer:
            writer.write(step, {"loss": 0.5})
    assert read_scalars(tmp_path) == {"loss": [(step, 0.5) for step in range(1, 31)]}
