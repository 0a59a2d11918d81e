import json
import os

import pytest
from sample_runs import make_run, make_sweep, write

from robustlabels.report.runs import find_runs, read_runs


def test_a_folder_stands_for_the_runs_below_it_sorted(tmp_path):
    for name in ("b", "a", "deep/er"):
        make_run(tmp_path / name, state="new")
    found = find_runs([tmp_path / "b", tmp_path])
    assert [os.path.relpath(run, tmp_path) for run in found] == ["b", "a", "deep/er"]


def test_a_sweep_keeps_the_order_of_its_cells(tmp_path):
    cells = {"z": {"seed": 1}, "a": {"seed": 2}, "not started": {"seed": 3}}
    write(tmp_path / "sweep.json", {"base": {}, "vary": {}, "cells": cells})
    for name in ("a", "z"):
        make_run(tmp_path / name, state="new")
    runs = read_runs([tmp_path])
    assert [(run.name, run.cell) for run in runs] == [
        ("z", {"seed": 1}),
        ("a", {"seed": 2}),
    ]


def test_runs_of_several_places_have_different_names(tmp_path):
    paths = [make_run(tmp_path / f"{x}/run", state="new") for x in "ab"]
    assert [run.name for run in read_runs(paths)] == ["a/run", "b/run"]


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="empty holds no run"):
        find_runs([tmp_path / "empty"])


@pytest.mark.parametrize("state", ["new", "training", "diverged", "old", "evaluated"])
def test_every_state_is_read(tmp_path, state):
    (run,) = read_runs([make_run(tmp_path / "run", state=state)])
    assert (run.diverged is not None) == (state == "diverged")
    assert bool(run.records) == (state in ("old", "evaluated"))
    assert bool(run.findings) == (state == "evaluated")
    assert sum(map(len, run.metrics.values())) == {"new": 0, "training": 12}.get(
        state, 30
    )


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "diverged.json",
        "evaluation/none-none-0-0.json",
        "evaluation/clean-0.json",
    ],
)
@pytest.mark.parametrize("text", ['{"half', "[]", '{"kind": 3, "what": 4}'])
def test_damaged_json_is_named(tmp_path, name, text):
    run = make_run(tmp_path / "run")
    (run / name).write_text(text)
    if name == "diverged.json" and text.startswith('{"kind"'):
        return
    with pytest.raises(ValueError, match=name.split("/")[-1]):
        read_runs([run])


def test_a_line_half_written_is_left_and_a_damaged_one_is_named(tmp_path):
    run = make_run(tmp_path / "run", state="training")
    metrics = run / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole + '{"step": 3, "ep')
    (read,) = read_runs([run])
    assert len(read.metrics[0]) == 12
    metrics.write_text('{"step\n' + whole)
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 1, is damaged"):
        read_runs([run])


def test_the_finding_of_a_seed_is_the_one_over_most_examples(tmp_path):
    run = make_run(tmp_path / "run", seeds=(0, 1))
    fields = json.loads((run / "evaluation/clean-0.json").read_text())
    write(run / "evaluation/zz.json", fields | {"n": 3})
    (read,) = read_runs([run])
    found = read.found("clean")
    assert [f.seed for f in found] == [0, 1]
    assert {f.content.n for f in found} == {449}


def test_the_strongest_attack_comes_first(tmp_path):
    (run,) = read_runs([make_run(tmp_path / "run", seeds=(0, 1))])
    assert list(run.by_attack("adversarial")) == [("pgd", "margin"), ("fgsm", "own")]


def test_a_sweep_of_the_sample(tmp_path):
    runs = read_runs([make_sweep(tmp_path / "sweep", state="old")])
    assert len(runs) == 6
    assert runs[-1].diverged is not None
    assert runs[0].cell == {"objective.name": "softmax", "learning_rate.peak": 1e-4}
