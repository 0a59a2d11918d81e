"""The table of nearest images: what is in it, seed by seed."""

import pathlib
import statistics

from robustlabels.evaluation import Finding
from robustlabels.report.distances import distances
from robustlabels.report.runs import Run, Sourced


def found(seed, attack, median, loss="none"):
    spread = {"mean": 2 * median, "low": 0.0, "median": median, "high": 1.0}
    values = {"found": 40, "l2": spread, "linf": spread, "rms": None}
    parameters = {"attack": attack, "loss": loss}
    finding = Finding(
        "minimum_distortion",
        {"seed": seed},
        "test",
        parameters,
        50,
        values,
        None,
        1.0,
        {},
    )
    path = pathlib.Path(f"runs/a/evaluation/{attack}-{seed}.json")
    return Sourced(path, seed, finding)


def run(*findings):
    empty = {"config": {}, "provenance": {}, "records": (), "metrics": {}}
    rest = {"diverged": None, "cell": {}, "matrices": {}}
    folder = pathlib.Path("runs/a")
    return Run(folder=folder, name="a", findings=findings, **empty, **rest)


def test_a_row_a_search_with_the_mean_over_seeds():
    medians = [0.5, 0.7]
    seeds = [found(s, "ddn", m, "own") for s, m in enumerate(medians)]
    made = distances([run(*seeds, found(0, "deepfool", 0.25))], pathlib.Path("page"))
    assert made is not None
    assert made.body.count("<tr>") == 3
    spread = statistics.stdev(medians)
    assert f"0.600<small> ± {spread:.3f}</small>" in made.body
    assert f"1.20<small> ± {2 * spread:.3f}</small>" in made.body
    assert "ddn, own" in made.body
    assert ">0.250</td>" in made.body
    assert ">80.0</td>" in made.body
    assert made.body.count("ddn-0.json") > 0


def test_nothing_is_said_where_nothing_was_searched():
    assert distances([run()], pathlib.Path("page")) is None
