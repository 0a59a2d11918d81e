"""Attacks one after another on what still stands, against each of them alone."""

import jax
import numpy as np
import pytest
from small_classifier import batch, classifier, split

from robustlabels import attacks, parallel
from robustlabels._stopping import Stopped
from robustlabels.evaluation import (
    Finding,
    Record,
    budgets,
    make_attacker,
    measure,
    read_arrays,
    render_table,
)
from robustlabels.evaluation.budgets import Ensemble, Stage

EPSILONS = {"0.02": 0.02, "0.05": 0.05, "0.12": 0.12}
SEED = 5
PGD = budgets.pgd(num_steps=12, relative_step_size=0.2)


def own(classifier):
    return classifier.loss


def margin(classifier):
    return classifier.margin


STAGES = {
    "square": Stage(budgets.uniform_noise(), own, None),
    "apgd-own": Stage(budgets.fgsm(), own, "own"),
    "apgd-margin": Stage(PGD, margin, "margin"),
}
ENSEMBLE = {"standard": (Ensemble(STAGES), {"name": "standard"})}
IDENTITY = {"data": "fake", "seed": SEED}


def attacker(stage):
    return make_attacker(
        stage.attack, stage.loss_of, mesh=parallel.make_mesh(), batch_size=6, cell=[1]
    )


def alone(stage, **arguments):
    made = attacker(stage)
    values = list(EPSILONS.values())
    return made(classifier, split, values, key=jax.random.key(SEED), **arguments)


def everything(**arguments):
    pairs = [(IDENTITY, classifier)]
    return list(
        measure(pairs, split, ENSEMBLE, epsilons=EPSILONS, batch_size=6, **arguments)
    )


@pytest.fixture(scope="module")
def by_stage():
    return {name: alone(stage) for name, stage in STAGES.items()}


def test_a_ceiling_is_where_an_example_is_left_alone(by_stage):
    expected = by_stage["apgd-margin"].fallen
    assert len(np.unique(expected)) >= 4
    ceiling = np.arange(len(expected), dtype=np.int32) % 4
    told = []
    found = alone(STAGES["apgd-margin"], ceiling=ceiling, advance=told.append)
    np.testing.assert_array_equal(found.fallen, np.minimum(expected, ceiling))
    unseen = found.fallen == ceiling
    assert np.all(found.distances[unseen] == 0)
    same = (found.fallen < ceiling) & (found.fallen >= 0)
    assert same.any()
    np.testing.assert_array_equal(
        found.distances[same], by_stage["apgd-margin"].distances[same]
    )
    assert sum(told) == len(expected) * len(EPSILONS) * 12


def test_a_ledger_belongs_to_one_ceiling(tmp_path, capsys):
    stage, file = STAGES["apgd-margin"], tmp_path / "ledger.npz"
    low = np.ones(23, np.int32)
    first = alone(stage, ceiling=low, ledger=file)
    again = alone(stage, ceiling=low, ledger=file, stop=lambda: True)
    np.testing.assert_array_equal(first.fallen, again.fallen)
    other = alone(stage, ceiling=2 * low, ledger=file)
    assert "belongs to another classifier" in capsys.readouterr().err
    assert other.fallen.max() > first.fallen.max()


@pytest.fixture(scope="module")
def found():
    return everything()


def test_each_row_is_what_is_left_after_its_stage(found, by_stage):
    records = [one for one in found if isinstance(one, Record)]
    rows = [(r.loss, r.epsilon) for r in records[1:]]
    names = [*STAGES, "worst"]
    assert rows == [(name, epsilon) for name in names for epsilon in EPSILONS]
    left = np.full(23, len(EPSILONS))
    shares = {}
    for name, outcome in by_stage.items():
        left = np.minimum(left, outcome.fallen)
        for level, epsilon in enumerate(EPSILONS):
            shares[name, epsilon] = np.mean(left > level)
    assert len(set(shares.values())) >= 5
    for record in records[1:]:
        last = "apgd-margin" if record.loss == "worst" else record.loss
        assert record.value == shares[last, record.epsilon]
    zeros = {record.loss: record.zero_gradients for record in records[1:]}
    assert zeros == {"square": None, "apgd-own": 0, "apgd-margin": 0, "worst": 0}


def test_a_finding_shows_the_images_of_the_stage_that_felled_them(found, by_stage):
    *_, last = [one for one in found if isinstance(one, Finding)]
    assert last.parameters["loss"] == "apgd-margin"
    everywhere = np.array([o.fallen for o in by_stage.values()])
    assert last.n == np.sum((everywhere[0] >= 0) & (everywhere.min(0) < len(EPSILONS)))


def test_what_was_stopped_in_a_later_stage_goes_on_to_the_same_figures(
    tmp_path, found, by_stage
):
    for patience in (1, 5, 9, 12):
        left = [patience]

        def stop(left=left):
            left[0] -= 1
            return left[0] < 0

        with pytest.raises(Stopped):
            everything(folder=tmp_path, stop=stop)
    again = everything(folder=tmp_path)
    kept = everything(folder=tmp_path, stop=lambda: True)
    for one, other, third in zip(found, again, kept, strict=True):
        if isinstance(one, Record):
            assert one.value == other.value == third.value
            assert (one.loss, one.fallen) == (other.loss, other.fallen)
    stages = [outcome.fallen for outcome in by_stage.values()]
    findings = [one for one in again if isinstance(one, Finding)]
    for i, finding in enumerate(findings):
        fallen = read_arrays(tmp_path, finding)["fallen"]
        np.testing.assert_array_equal(fallen, np.min(stages[: i + 1], axis=0))


def test_an_ensemble_takes_epsilons_of_normalised_images():
    stages = {"a": Stage(budgets.fgsm(unit="std"), own, "own")}
    std = np.array([0.5], np.float32)
    scaled = Ensemble(stages).in_pixels(std)
    outcome = alone(scaled.stages["a"])
    halved = make_attacker(
        budgets.fgsm(), own, mesh=parallel.make_mesh(), batch_size=6, cell=[1]
    )(classifier, split, [e / 2 for e in EPSILONS.values()], key=jax.random.key(SEED))
    np.testing.assert_array_equal(outcome.fallen, halved.fallen)
    assert not Ensemble(stages).unit_range
    assert Ensemble(STAGES).unit_range


def test_a_search_tells_its_distances():
    search = {"ddn": (budgets.ddn(num_steps=15), {"name": "ddn"})}
    pairs = [(IDENTITY, classifier)]
    found = list(measure(pairs, split, search, epsilons=EPSILONS, losses=["margin"]))
    (finding,) = [f for f in found if getattr(f, "kind", "") == "minimum_distortion"]
    x, y = batch
    alone = attacks.ddn(classifier.margin, classifier.scores, x, y, num_steps=15)
    right = np.asarray(classifier.scores(x)).argmax(1) == np.asarray(y)
    expected = np.asarray(alone.distortion)[right]
    assert finding.n == right.sum()
    assert finding.values["found"] == np.isfinite(expected).sum()
    l2 = finding.values["l2"]
    assert l2["median"] == pytest.approx(np.median(expected), abs=1e-5)
    assert finding.values["rms"]["mean"] == pytest.approx(expected.mean() / 4, abs=1e-5)
    for record in found:
        if isinstance(record, Record) and record.attack == "ddn":
            fell = np.sum(expected <= EPSILONS[record.epsilon] * (1 + 1e-5))
            assert record.value == (right.sum() - fell) / 23
    assert "ddn, margin: " in render_table(found)
