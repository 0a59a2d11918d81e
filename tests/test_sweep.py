"""Grids of runs: which cells there are, what becomes of them, and going on."""

import json

import ml_collections
import pytest
from test_sections import short

from robustlabels import evaluation, sweep
from robustlabels._stopping import Stopped
from robustlabels.cli import main
from robustlabels.sections import complete

QUICK = {
    "data": {"name": "fake", "num_examples": 60, "image_shape": (4, 4, 1)},
    "encoder": {"name": "MLP", "widths": (4,)},
    "training": {"num_epochs": 1},
    "optimizer": {"name": "sgd"},
    "learning_rate": {"name": "constant", "peak": 0.1},
    "evaluation": {
        "epsilons": "0.1",
        "attacks": {"fgsm": {"name": "fgsm"}},
        "noise_images": 0,
        "fooling_images": 0,
        "diagnosed_examples": 0,
    },
}


def base():
    return ml_collections.ConfigDict(short(**QUICK))


def test_a_grid_is_every_combination_in_order():
    cells = sweep.grid(
        base(),
        ["seed=3,4", "encoder.widths=(8,),(8, 4)", "config.objective.name=sng,glvq"],
    )
    assert [tuple(cell.varied.values()) for cell in cells.values()] == [
        (seed, widths, objective)
        for seed in ("3", "4")
        for widths in ("(8,)", "(8, 4)")
        for objective in ("sng", "glvq")
    ]
    name = "seed=4,encoder.widths=_8_4_,objective.name=glvq"
    config = cells[name].config
    assert (config.seed, config.encoder.widths) == (4, (8, 4))
    assert "tau_end" not in config.objective
    assert config == complete(config)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (["seed"], "--vary=seed is not understood: write --vary=KEY=V1,V2"),
        (["seed="], "--vary=seed= is not understood"),
        (["seed=1,,2"], "is not understood"),
        (["seed=1,1"], "--vary=seed=1,1 gives a value twice"),
        (["seed=1", "seed=2"], "--vary names a field twice"),
        (["sed=1"], "config has no 'sed'.*Did you mean seed"),
        (["training.num_epochs=many"], "num_epochs"),
        (["optimizer.name=sgd,adan"], "'adan' is not in"),
        (["encoder.widths=(8,4),(8, 4)"], "two cells the name"),
    ],
)
def test_what_is_no_grid(vary, message):
    with pytest.raises(ValueError, match=message):
        sweep.grid(base(), vary)


def asked_after(times):
    asked = []
    return lambda: asked.append(None) or len(asked) > times


def values_of(folder):
    return [(r.attack, r.loss, r.value) for r in evaluation.read_records(folder)]


def test_a_sweep_marks_what_diverges_and_goes_on_where_it_stopped(tmp_path, capsys):
    """The middle one of three rates is absurd; two of the three cells are trained."""
    cells = sweep.grid(base(), ["learning_rate.peak=0.1,1e30,0.01"])
    with pytest.raises(Stopped):
        sweep.run(cells, tmp_path, stop=asked_after(2))
    first, second, third = (tmp_path / name for name in cells)
    assert (first / "config.json").exists()
    assert not (third / "config.json").exists()
    outcomes = sweep.run(cells, tmp_path)
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert "diverged" in outcomes[1].error
    assert json.loads((second / "diverged.json").read_text())["step"] >= 0
    assert not (second / "finished.json").exists()
    for outcome, folder in zip(outcomes[::2], (first, third), strict=True):
        assert (folder / "finished.json").exists()
        stored = evaluation.read_records(folder) + evaluation.read_findings(folder)
        assert sorted(outcome.found, key=repr) == sorted(stored, key=repr)
    assert (tmp_path / "report.html").exists()

    before = {path: path.stat().st_mtime_ns for path in first.rglob("*.json")}
    more = sweep.grid(base(), ["learning_rate.peak=0.1,1e30,0.01,0.02"])
    again = sweep.run(more, tmp_path)
    assert [outcome.error is None for outcome in again] == [True, False, True, True]
    assert sorted(again[0].found, key=repr) == sorted(outcomes[0].found, key=repr)
    assert before == {path: path.stat().st_mtime_ns for path in first.rglob("*.json")}
    noted = json.loads((tmp_path / "sweep.json").read_text())
    assert noted["vary"] == {"learning_rate.peak": ["0.1", "1e30", "0.01", "0.02"]}
    assert list(noted["cells"]) == list(more)

    table = sweep.render_outcomes(again).splitlines()
    names = ["ECE", "NLL", "Brier", "top", "3", "epsilon", "0.1"]
    assert table[0].split() == ["learning_rate.peak", "accuracy", *names]
    clean, worst = (
        next(100 * v for attack, loss, v in values_of(first) if (attack, loss) == row)
        for row in (("none", "none"), ("fgsm", "worst"))
    )
    cells = table[2].split()
    assert (cells[:2], cells[-1]) == (["0.1", f"{clean:.1f}"], f"{worst:.1f}")
    (found,) = [f for f in evaluation.read_findings(first) if f.kind == "clean"]
    error, score = (
        found.values[n] for n in ("expected_calibration_error", "brier_score")
    )
    assert cells[2:4] == [f"{100 * error:.2f}", "%"]
    assert cells[5] == f"{score:.4f}"
    assert table[3].split() == ["1e30", "failed"]
    assert table[-1].startswith("1e30: ")


def test_a_bad_cell_is_found_before_any_work(tmp_path):
    cells = sweep.grid(base(), ["training.batch_size=10,0"])
    with pytest.raises(ValueError, match=r"cell training.batch_size=0: batch_size=0"):
        sweep.run(cells, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_runs_a_grid_and_fails_if_a_cell_does(tmp_path, capsys):
    config = tmp_path / "quick.py"
    config.write_text(
        "import ml_collections\n\n"
        "def get_config():\n"
        f"    return ml_collections.ConfigDict({short(**QUICK).to_dict()!r})\n"
    )
    command = ["sweep", f"--config={config}", f"--workdir={tmp_path / 'grid'}"]
    assert main([*command, "--vary=seed=0,1"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[:2] == ["seed", "accuracy"]
    assert main([*command, "--vary=learning_rate.peak=1e30"]) == 1
    assert "diverged" in capsys.readouterr().out
