"""All that is measured of a classifier: what comes, in which order, and going on."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.tree_util import Partial
from small_classifier import classifier, decisions, split, with_functions

from robustlabels import parallel
from robustlabels._stopping import Stopped
from robustlabels.data import Split
from robustlabels.evaluation import (
    Finding,
    Record,
    budgets,
    examine,
    measure,
    read_arrays,
    read_findings,
)

EPSILONS = {"0.01": 0.01, "0.05": 0.05, "0.2": 0.2, "0.6": 0.6}
ATTACKS = {"fgsm": (budgets.fgsm(), {"name": "fgsm"})}
IDENTITY = {"data": "fake", "epoch": 3, "seed": 2}
OTHER = {**IDENTITY, "seed": 3}
LITTLE = {"noise_images": 12, "fooling_images": 4, "diagnosed_examples": 10}


def softmax_of_scores(x):
    return jax.nn.softmax(classifier.scores(x))


def everything(pairs=((IDENTITY, classifier),), attacks=ATTACKS, of=split, **changed):
    arguments = {
        "epsilons": EPSILONS,
        "class_names": ["a", "b", "c"],
        "batch_size": 8,
        **LITTLE,
        **changed,
    }
    return list(examine(pairs, of, attacks, **arguments))


def kinds(found):
    return [one.kind if isinstance(one, Finding) else one.attack for one in found]


def without_times(found):
    return [
        dataclasses.replace(one, seconds=0.0, provenance={}, **said)
        for one in found
        for said in [{"images": None} if isinstance(one, Finding) else {}]
    ]


def arrays_of(folder, found):
    """The arrays of each finding, by its kind, attack and loss."""
    return {
        (one.kind, one.parameters.get("attack"), one.parameters.get("loss")): {
            name: array.tolist() for name, array in read_arrays(folder, one).items()
        }
        for one in found
        if isinstance(one, Finding)
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, everything(folder=folder)


def test_everything_comes_in_order(run):
    attacked = ["fgsm"] * len(EPSILONS)
    by_own, by_margin = ([*attacked, "adversarial"] for _ in range(2))
    after = ["noise", "fooling", "hidden_gradient"]
    expected = ["clean", "none", *by_own, *by_margin, *attacked, *after]
    assert kinds(run[1]) == expected
    sizes = {one.kind: one.n for one in run[1] if isinstance(one, Finding)}
    assert (sizes["clean"], sizes["noise"], sizes["fooling"]) == (23, 12, 4)
    assert sizes["hidden_gradient"] == 10
    for one in run[1]:
        assert one.classifier == IDENTITY


def test_records_are_those_of_measure(run):
    found = [one for one in run[1] if isinstance(one, Record)]
    pairs = [(IDENTITY, classifier)]
    alone = measure(pairs, split, ATTACKS, epsilons=EPSILONS, batch_size=8)
    expected = [one for one in alone if isinstance(one, Record)]
    assert without_times(found) == without_times(expected)


def test_the_signs_are_looked_for_where_half_has_fallen(run):
    rows = [r for r in run[1] if isinstance(r, Record) and r.loss == "worst"]
    right = np.mean(decisions == split.labels)
    distance = {
        r.epsilon: abs(r.value - right / 2) for r in rows if EPSILONS[r.epsilon] < 0.5
    }
    assert len(set(distance.values())) == 3
    assert run[1][-1].parameters["epsilon"] == min(distance, key=distance.get)


def test_what_is_there_is_read_and_not_computed_again(run):
    folder, found = run

    def asked():
        raise AssertionError("work was done")

    assert everything(folder=folder, stop=asked) == found


def test_arrays_are_those_that_the_findings_are_of(run):
    folder, found = run
    arrays = {kind: held for (kind, *_), held in arrays_of(folder, found).items()}
    values = {one.kind: one.values for one in found if isinstance(one, Finding)}
    right = decisions == split.labels
    assert arrays["clean"]["right"] == right.tolist()
    assert values["clean"]["accuracy"] == np.mean(right)
    assert len(arrays["noise"]["confidence"]) == 12
    for kind in ("clean", "noise"):
        middle = np.median(arrays[kind]["confidence"])
        assert values[kind]["median_confidence"] == pytest.approx(middle)
    assert np.array_equal(np.array(arrays["adversarial"]["fallen"]) >= 0, right)
    assert arrays["hidden_gradient"] == {}


def test_another_size_is_another_finding(run, tmp_path):
    folder = tmp_path / "copy"
    first = everything(folder=folder, attacks={}, noise_images=5, fooling_images=0)
    second = everything(folder=folder, attacks={}, noise_images=6, fooling_images=0)
    assert [one.n for one in (first[-1], second[-1])] == [5, 6]
    assert second[0].provenance == first[0].provenance


def test_replicas_have_findings_of_their_own(tmp_path):
    pairs = [(IDENTITY, classifier), (OTHER, classifier)]
    found = everything(pairs, attacks={}, folder=tmp_path)
    assert kinds(found) == ["clean"] * 2 + ["none"] * 2 + ["noise", "fooling"] * 2
    first, second = (one.values for one in found if kinds([one]) == ["noise"])
    assert first != second  # each draws from its seed
    assert len(read_findings(tmp_path)) == 6


@pytest.mark.parametrize("calls", [0, 4, 9, 14])
def test_what_was_stopped_goes_on_to_the_same(run, tmp_path, calls):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > calls

    with pytest.raises(Stopped, match=r"\w+ stopped at \w+ \d+/\d+"):
        everything(folder=tmp_path, stop=stop)
    again = everything(folder=tmp_path)
    assert without_times(again) == without_times(run[1])
    assert arrays_of(tmp_path, again) == arrays_of(*run)


def test_unknown_classes_come_after_the_noise(tmp_path):
    some = Split(split.images[:6], np.full(6, 9, np.int32))
    pairs = [(IDENTITY, classifier), (OTHER, classifier)]
    found = everything(pairs, attacks={}, unknown=some, folder=tmp_path)
    of_each = ["noise", "left_out", "fooling"]
    assert kinds(found) == ["clean"] * 2 + ["none"] * 2 + of_each * 2
    ours = [one for one in found if kinds([one]) == ["left_out"]]
    assert [one.n for one in ours] == [29, 29]
    assert [one.classifier for one in ours] == [IDENTITY, OTHER]
    arrays = read_arrays(tmp_path, ours[0])
    assert {name: len(array) for name, array in arrays.items()} == {
        "known": 23,
        "unknown": 6,
    }
    np.testing.assert_array_equal(
        arrays["known"], read_arrays(tmp_path, found[0])["confidence"]
    )

    def asked():
        raise AssertionError("work was done")

    again = everything(pairs, attacks={}, unknown=some, folder=tmp_path, stop=asked)
    assert [one for one in again if kinds([one]) == ["left_out"]] == ours


def test_what_is_zero_is_left_out():
    nothing = dict.fromkeys(LITTLE, 0)
    assert kinds(everything(attacks={}, **nothing)) == ["clean", "none"]


def test_without_an_attack_that_follows_a_loss_no_signs_are_looked_for():
    attacks = {"noise": (budgets.uniform_noise(), {"name": "uniform_noise"})}
    assert "hidden_gradient" not in kinds(everything(attacks=attacks))


def test_what_makes_numbers_doubtful_is_said_loudly(capsys):
    sure = with_functions(classifier, scores=Partial(softmax_of_scores))
    pairs = [(IDENTITY, sure)]
    next(iter(examine(pairs, split, {}, epsilons={}, class_names=["a", "b", "c"])))
    assert "Beware: The scores look like prob" in capsys.readouterr().err


def test_images_out_of_range_are_refused():
    of = Split(split.images.astype(np.float32), split.labels)
    with pytest.raises(ValueError, match=r"outside of \[0, 1\]. Divide bytes by 255"):
        everything(of=of)


def test_the_mesh_changes_nothing(run):
    mesh = parallel.make_mesh(jax.devices()[:1])
    found = everything(mesh=mesh)
    of_one, of_all = (
        [one.value for one in each if isinstance(one, Record)]
        for each in (found, run[1])
    )
    assert of_one == of_all
