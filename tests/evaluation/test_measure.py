"""Measuring a split against a plain loop over its examples, one at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.tree_util import Partial
from small_classifier import (
    batch,
    classifier,
    outputs_of,
    split,
    weights,
    with_functions,
)

from robustlabels import attacks, data, objective, parallel
from robustlabels._stopping import Stopped
from robustlabels.evaluation import (
    Finding,
    Record,
    budgets,
    measure,
    parse_epsilons,
    read_arrays,
    read_findings,
    read_records,
)
from robustlabels.evaluation.ascended import random_others
from robustlabels.objective import Objective, bind

EPSILONS = {"0": 0.0, "8/255": 8 / 255, "0.06": 0.06, "0.9": 0.9}
SEED = 11
PGD = {"num_steps": 3, "relative_step_size": 0.5}
ATTACKS = {
    "fgsm": (budgets.fgsm(), {"name": "fgsm"}),
    "pgd": (budgets.pgd(**PGD), {"name": "pgd", **PGD}),
    "noise": (budgets.uniform_noise(), {"name": "uniform_noise"}),
}


def alone(name, loss_fn, x, y, epsilon, key):
    """The public attack on one example, with the key of that example."""
    if name == "fgsm":
        return attacks.fgsm(loss_fn, x, y, epsilon=epsilon)
    if name == "noise":
        return attacks.uniform_noise(x, epsilon=epsilon, key=key)
    return attacks.pgd(
        loss_fn, x, y, epsilon=epsilon, num_steps=3, step_size=0.5 * epsilon, key=key
    )


IDENTITY = {"data": "fake", "epoch": 3, "seed": SEED}


def everything(
    classifiers, split=split, chosen=ATTACKS, epsilons=EPSILONS, batch_size=8, **more
):
    return list(
        measure(
            classifiers,
            split,
            chosen,
            epsilons=epsilons,
            split_name="validation",
            batch_size=batch_size,
            **more,
        )
    )


def measured(classifier, split, batch_size, chosen=ATTACKS, epsilons=EPSILONS):
    """The records alone, of one classifier."""
    pairs = [(IDENTITY, classifier)]
    found = everything(pairs, split, chosen, epsilons, batch_size)
    return [one for one in found if isinstance(one, Record)]


@pytest.fixture(scope="module")
def found():
    return everything([(IDENTITY, classifier)])


@pytest.fixture(scope="module")
def records(found):
    return [one for one in found if isinstance(one, Record)]


@pytest.fixture(scope="module")
def stands_alone():
    """(attack, loss) -> [epsilons, n], by a loop over single examples."""
    losses = {"own": classifier.loss, "margin": classifier.margin}
    flags = {}
    for name in ATTACKS:
        for loss in ("none",) if name == "noise" else ("own", "margin"):
            attack = jax.jit(
                lambda x, y, e, k, name=name, loss=loss: alone(
                    name, losses.get(loss), x, y, e, k
                )
            )
            rows = np.zeros((len(EPSILONS), 23), bool)
            for i, (x, y) in enumerate(zip(*batch, strict=True)):
                key = jax.random.fold_in(jax.random.key(SEED), i)[None]
                upright = True
                for row, epsilon in enumerate(EPSILONS.values()):
                    x_adv = attack(x[None], y[None], epsilon, key)
                    decision = int(np.argmax(np.asarray(classifier.scores(x_adv))))
                    upright = upright and decision == int(y)
                    rows[row, i] = upright
            flags[name, loss] = rows
    for name in ("fgsm", "pgd"):
        flags[name, "worst"] = flags[name, "own"] & flags[name, "margin"]
    return flags


def test_rows_come_clean_first_then_by_attack_loss_and_epsilon(records):
    expected = [("none", "none", "0")]
    for name in ATTACKS:
        for loss in ("none",) if name == "noise" else ("own", "margin", "worst"):
            expected += [(name, loss, epsilon) for epsilon in EPSILONS]
    assert [(r.attack, r.loss, r.epsilon) for r in records] == expected


def test_every_figure_is_that_of_single_examples(records, stands_alone):
    for record in records[1:]:
        row = stands_alone[record.attack, record.loss]
        expected = row[list(EPSILONS).index(record.epsilon)].mean()
        assert record.value == pytest.approx(expected, abs=1e-9), record
    worst = stands_alone["fgsm", "worst"].sum(), stands_alone["pgd", "worst"].sum()
    assert worst < (stands_alone["fgsm", "own"].sum(), 23 * len(EPSILONS))


def test_losses_of_the_decision_and_targets_are_those_of_the_public_attack():
    """FGSM by every loss, towards other classes or away, against whole batches."""
    x, y = batch
    others = random_others(split.labels, 3)
    names = ("own", "margin", "cross_entropy", "dlr")
    chosen = {
        "away": (budgets.fgsm(), {"name": "fgsm"}),
        "towards": (budgets.fgsm(targeted=True), {"name": "fgsm", "targeted": True}),
    }
    pairs, epsilons = [(IDENTITY, classifier)], {"8/255": 8 / 255}
    found = everything(pairs, chosen=chosen, epsilons=epsilons, losses=names)
    values = {(r.attack, r.loss): r for r in found if isinstance(r, Record)}
    right = np.argmax(np.asarray(classifier.scores(x)), axis=1) == np.asarray(y)
    worst = {"away": right, "towards": right}
    functions = {"own": classifier.loss} | {
        n: getattr(classifier, n) for n in names[1:]
    }

    @jax.jit
    def decisions(x, y, others):
        made = {}
        for name, loss in functions.items():
            away = attacks.fgsm(loss, x, y, epsilon=8 / 255)
            towards = attacks.fgsm(attacks.targeted(loss), x, others, epsilon=8 / 255)
            for attack, x_adv in (("away", away), ("towards", towards)):
                made[f"{attack} {name}"] = classifier.scores(x_adv).argmax(-1)
        return made

    for cell, decision in decisions(x, y, jnp.asarray(others)).items():
        attack, name = cell.split()
        kept = np.asarray(decision == y)
        assert values[attack, name].value == pytest.approx((kept & right).mean())
        worst[attack] = worst[attack] & kept
    for attack, kept in worst.items():
        assert values[attack, "worst"].value == pytest.approx(kept.mean())
    assert values["away", "worst"].value <= values["towards", "worst"].value


def test_targets_are_other_classes_each_as_likely():
    labels = np.repeat(np.arange(4, dtype=np.int32), 300)
    others = random_others(labels, 4)
    assert np.all((others >= 0) & (others < 4) & (others != labels))
    pairs = np.bincount(4 * labels + others, minlength=16).reshape(4, 4)
    counts = pairs[~np.eye(4, dtype=bool)]
    assert scipy.stats.chisquare(counts).pvalue > 0.001
    np.testing.assert_array_equal(random_others(labels[:50], 4), others[:50])


def test_the_clean_row_is_the_accuracy(records):
    x, y = batch
    right = np.argmax(np.asarray(classifier.scores(x)), axis=1) == np.asarray(y)
    assert 0 < right.mean() < 1
    assert records[0].value == pytest.approx(right.mean(), abs=1e-9)
    assert records[0].parameters == {}
    assert records[0].zero_gradients is None


def test_what_a_record_says(records):
    for record in records:
        assert record.classifier == IDENTITY
        assert (record.split, record.n) == ("validation", 23)
        assert record.low <= record.value <= record.high
        assert record.seconds >= 0
        assert record.provenance["num_devices"] == jax.device_count()
    for record in records[1:]:
        assert record.parameters == ATTACKS[record.attack][1]
        assert record.zero_gradients == (None if record.attack == "noise" else 0.0)


@pytest.mark.parametrize(("batch_size", "name"), [(5, "pgd"), (1000, "noise")])
def test_the_batch_size_changes_no_figure(records, batch_size, name):
    found = measured(classifier, split, batch_size, {name: ATTACKS[name]})
    expected = [r for r in records if r.attack in ("none", name)]
    figures = [
        [(r.attack, r.loss, r.epsilon, r.value, r.zero_gradients) for r in rows]
        for rows in (found, expected)
    ]
    assert figures[0] == figures[1]


def test_the_images_by_which_examples_fell_are_in_the_record(records, stands_alone):
    upright = np.argmax(np.asarray(classifier.scores(batch[0])), 1) == split.labels
    for record in records:
        if record.loss == "worst" or record.attack == "none":
            assert record.fallen is None
            continue
        row = stands_alone[record.attack, record.loss]
        row = row[list(EPSILONS).index(record.epsilon)]
        assert record.fallen["n"] == np.sum(upright & ~row)
        assert 0 <= record.fallen["survive_8_bits"] <= record.fallen["n"]
        figures = [record.fallen[k] for k in ("confidence", "l0", "l1", "l2", "linf")]
        if record.fallen["n"] == 0:
            assert figures == [None] * 5
            continue
        epsilon = EPSILONS[record.epsilon]
        assert 1 / 3 <= figures[0] <= 1
        assert figures[4] <= epsilon + 1e-6
        assert figures[3] <= figures[4] * 4 + 1e-6
        assert figures[1] <= 16


def test_medians_are_those_of_fgsm_on_each_example(records, stands_alone):
    x, y = batch
    upright, smallest = stands_alone["fgsm", "own"], {}
    for epsilon, row in zip(EPSILONS.values(), upright, strict=True):
        x_adv = attacks.fgsm(classifier.loss, x, y, epsilon=epsilon)
        length = np.sqrt(np.sum((np.asarray(x_adv) - x) ** 2, axis=(1, 2, 3)))
        for i in np.flatnonzero(upright[0] & ~row):
            smallest.setdefault(i, length[i])
    (record,) = (
        r for r in records if (r.attack, r.loss, r.epsilon) == ("fgsm", "own", "0.9")
    )
    assert record.fallen["n"] == len(smallest)
    expected = np.median(list(smallest.values()))
    assert record.fallen["l2"] == pytest.approx(expected, rel=1e-4)


def test_a_finding_follows_the_records_of_each_loss(found):
    kinds = ["finding" if isinstance(one, Finding) else one.loss for one in found]
    each = len(EPSILONS)
    both = ["own"] * each + ["finding"] + ["margin"] * each + ["finding"]
    noise = ["none"] * each + ["finding"]
    assert kinds == ["none", *(both + ["worst"] * each) * 2, *noise]
    for one in (f for f in found if isinstance(f, Finding)):
        assert (one.kind, one.split, one.classifier) == (
            "adversarial",
            "validation",
            IDENTITY,
        )
        name, loss = one.parameters["attack"], one.parameters["loss"]
        expected = {"attack": name, "loss": loss, "epsilons": list(EPSILONS)}
        assert one.parameters == {**ATTACKS[name][1], **expected}
        last = [r for r in found if isinstance(r, Record) and r.epsilon == "0.9"]
        (record,) = (r for r in last if (r.attack, r.loss) == (name, loss))
        assert one.n == record.fallen["n"] > 0
        assert one.values["median_confidence"] == record.fallen["confidence"]
        histogram = one.values["confidence_histogram"]
        np.testing.assert_allclose(histogram["edges"], np.linspace(0, 1, 21))
        assert sum(histogram["counts"]) == one.n
        assert one.images is None


def replicas():
    second = [w + np.float32(0.2) for w in weights]
    predict = Partial(outputs_of, *map(jnp.asarray, second))
    other = objective.bind(objective.softmax().at({}, 1.0), predict)
    return [(IDENTITY, classifier), ({**IDENTITY, "seed": SEED + 1}, other)]


SHORT = {name: ATTACKS[name] for name in ("fgsm", "noise")}
FGSM = {"fgsm": ATTACKS["fgsm"]}
NOISE = {"noise": ATTACKS["noise"]}


def figures(found):
    """All that is found, but for when and how long."""
    return [
        dataclasses.replace(
            one, seconds=0.0, provenance={"digest": one.provenance["digest"]}
        )
        for one in found
    ]


@pytest.fixture(scope="module")
def of_replicas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, everything(replicas(), chosen=SHORT, folder=folder)


def test_replicas_are_measured_one_by_one(of_replicas):
    _, both = of_replicas
    second = [
        dataclasses.replace(f, images=None) if isinstance(f, Finding) else f
        for f in both[len(both) // 2 :]
    ]
    alone = everything(replicas()[1:], chosen=SHORT)
    assert figures(second) == figures(alone)
    assert {one.classifier["seed"] for one in both} == {SEED, SEED + 1}


def test_replicas_need_no_compile_of_their_own():
    losses = []

    def counted(x, y):
        losses.append(1)
        return classifier.loss(x, y)

    pairs = [
        (identity, with_functions(one, loss=Partial(counted)))
        for identity, one in replicas()
    ]
    everything(pairs[:1], chosen=FGSM)
    once = len(losses)
    assert once > 0
    losses.clear()
    everything(pairs, chosen=FGSM)
    assert len(losses) == once


def test_what_is_yielded_is_written_and_kept(of_replicas):
    folder, both = of_replicas
    records = [one for one in both if isinstance(one, Record)]
    findings = [one for one in both if isinstance(one, Finding)]
    key = str
    assert sorted(read_records(folder), key=key) == sorted(records, key=key)
    assert sorted(read_findings(folder), key=key) == sorted(findings, key=key)

    def asked():
        raise AssertionError("work was done")

    assert everything(replicas(), chosen=SHORT, folder=folder, stop=asked) == both


def test_images_of_a_finding(of_replicas):
    folder, both = of_replicas
    finding = next(one for one in both if isinstance(one, Finding))
    right = np.flatnonzero(
        np.argmax(np.asarray(classifier.scores(batch[0])), 1) == split.labels
    )[:10]
    with np.load(folder / "evaluation" / finding.images) as images:
        np.testing.assert_array_equal(images["clean"], np.asarray(batch[0])[right])
        np.testing.assert_array_equal(images["labels"], split.labels[right])
        fell, perturbed = images["fell"], images["perturbed"]
        assert fell.any()
        np.testing.assert_array_equal(images["decisions"] != split.labels[right], fell)
        scores = np.asarray(classifier.scores(jnp.asarray(perturbed)))
        np.testing.assert_array_equal(images["decisions"], scores.argmax(1))
        confidences = classifier.confidence(jnp.asarray(perturbed))
        np.testing.assert_allclose(images["confidences"], confidences, atol=1e-6)
        change = np.abs(perturbed - images["clean"]).max((1, 2, 3))
        allowed = [EPSILONS[written] for written in images["epsilons"]]
        assert np.all(change <= np.array(allowed) + 1e-6)


def test_where_each_example_fell(of_replicas, stands_alone):
    folder, both = of_replicas
    right = np.argmax(np.asarray(classifier.scores(batch[0])), 1) == split.labels
    assert not right.all()
    for finding in (one for one in both if isinstance(one, Finding)):
        fallen = read_arrays(folder, finding)["fallen"]
        assert (fallen.shape, fallen.dtype) == ((23,), np.int32)
        cell = finding.parameters["attack"], finding.parameters["loss"]
        for level, epsilon in enumerate(EPSILONS):
            (record,) = (
                one
                for one in both
                if isinstance(one, Record)
                and one.classifier == finding.classifier
                and (one.attack, one.loss, one.epsilon) == (*cell, epsilon)
            )
            assert np.mean(fallen > level) == record.value
            assert np.sum((fallen >= 0) & (fallen <= level)) == record.fallen["n"]
        if finding.classifier == IDENTITY:
            for i, one in enumerate(fallen):
                stood = int(stands_alone[cell][:, i].sum())
                assert one == (stood if right[i] else -1)


class Countdown:
    """Says to stop at the call of a number."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self):
        self.calls -= 1
        return self.calls < 0


def test_what_was_stopped_goes_on_to_the_same_records(of_replicas, tmp_path):
    for calls in (0, 7, 20):
        with pytest.raises(Stopped):
            everything(replicas(), chosen=SHORT, folder=tmp_path, stop=Countdown(calls))
    again = everything(replicas(), chosen=SHORT, folder=tmp_path)
    assert figures(again) == figures(of_replicas[1])
    folder = of_replicas[0] / "evaluation"
    names = {path.name for path in folder.iterdir()}
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} == names
    for name in names:
        if name.endswith(".npz"):
            with (
                np.load(folder / name) as one,
                np.load(tmp_path / "evaluation" / name) as other,
            ):
                for key in one.files:
                    np.testing.assert_array_equal(one[key], other[key])


def test_a_killed_cell_is_completed_without_its_ledger(of_replicas, tmp_path):
    generator = measure(
        replicas(),
        split,
        SHORT,
        epsilons=EPSILONS,
        split_name="validation",
        batch_size=8,
        folder=tmp_path,
    )
    before = [next(generator) for _ in range(8)]
    generator.close()
    for path in (tmp_path / "evaluation").glob("ledger*"):
        path.unlink()
    again = everything(replicas(), chosen=SHORT, folder=tmp_path)
    assert again[:8] == before
    assert figures(again) == figures(of_replicas[1])


def test_another_classifier_in_the_folder_is_measured_anew(of_replicas, tmp_path):
    everything(replicas()[:1], chosen=NOISE, folder=tmp_path)
    swapped = [(IDENTITY, replicas()[1][1])]
    again = everything(swapped, chosen=NOISE, folder=tmp_path)
    alone = everything(swapped, chosen=NOISE)
    assert [f.values for f in again if isinstance(f, Finding)] == [
        f.values for f in alone if isinstance(f, Finding)
    ]
    assert len(read_records(tmp_path)) == sum(isinstance(r, Record) for r in again)


def test_devices_change_no_figure(records):
    one = parallel.make_mesh(jax.devices()[:1])
    again = everything([(IDENTITY, classifier)], chosen=SHORT, mesh=one)
    values = [
        [
            (r.value, r.zero_gradients)
            for r in rows
            if isinstance(r, Record) and r.attack in ("none", *SHORT)
        ]
        for rows in (again, records)
    ]
    assert values[0] == values[1]


def test_a_seed_is_that_of_the_replica_or_the_given_one():
    identity = {"data": "fake"}
    noise = {"noise": (budgets.gaussian_noise(), {})}
    epsilons = {"0.3": 0.3}
    found = {
        seed: everything(
            [({**identity, **own}, classifier)],
            chosen=noise,
            epsilons=epsilons,
            **given,
        )[2].values
        for seed, own, given in (
            ("own", {"seed": 5}, {"seed": 1}),
            ("given", {}, {"seed": 5}),
            ("other", {}, {"seed": 6}),
        )
    }
    assert found["own"] == found["given"] != found["other"]


def half_dead_scores(x):
    """The last image's logits and all others move by one pixel each, or not at all."""
    bright = jax.nn.relu(x[:, 0, 0, 0] - 0.5)
    return jnp.stack([bright, -bright], axis=1)


def half_dead_confidence(x):
    return half_dead_scores(x).max(axis=1)


def half_dead_loss(x, labels):
    return jnp.where(x[:, 1, 1, 0] > 0.75, half_dead_scores(x)[:, 1], 0.0)


def test_the_share_of_zero_gradients_is_that_of_the_split():
    of_images = Objective(
        loss=Partial(half_dead_loss),
        scores=Partial(half_dead_scores),
        confidence=Partial(half_dead_confidence),
    )
    classifier = bind(of_images, lambda x: x)
    pixels = split.images / 255
    dark = pixels[:, 0, 0, 0] <= 0.5
    dead = dark | (pixels[:, 1, 1, 0] <= 0.75)
    expected = {"own": dead.mean(), "margin": dark.mean(), "worst": dead.mean()}
    assert 0 < dark.mean() < dead.mean() < 1
    labels = split._replace(labels=np.zeros(23, np.int32))
    rows = measured(classifier, labels, 10, {"fgsm": ATTACKS["fgsm"]}, {"0.01": 0.01})
    found = {r.loss: r.zero_gradients for r in rows[1:]}
    assert found == {loss: pytest.approx(share) for loss, share in expected.items()}


def refuses(x):
    raise AssertionError("work was done")


@pytest.mark.parametrize(
    "attack", [budgets.fgsm(), budgets.pgd(), budgets.uniform_noise()]
)
def test_an_epsilon_above_one_is_refused_before_any_work(attack):
    classifier = bind(Objective(*(Partial(refuses),) * 3), refuses)
    message = r"epsilon=8.0 is outside \[0, 1\]. Pixels live in \[0, 1\], and mine ch"
    with pytest.raises(ValueError, match=message):
        measured(classifier, split, 8, {"mine": (attack, {})}, {"0": 0.0, "8": 8.0})


def test_an_epsilon_above_one_is_fine_where_it_is_a_deviation():
    chosen = {"mine": (budgets.gaussian_noise(), {})}
    rows = measured(classifier, split, 23, chosen, {"8": 8.0})
    assert [r.epsilon for r in rows] == ["0", "8"]
    assert rows[1].value < rows[0].value


def test_without_attacks_there_is_the_clean_row():
    (row,) = measured(classifier, split, 8, {})
    assert row.attack == "none"


def test_attacks_without_epsilons_are_refused():
    with pytest.raises(ValueError, match="there are attacks but no epsilons: write"):
        measured(classifier, split, 8, epsilons={})


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size=0 is not a whole number"):
        measured(classifier, split, 0)


def test_one_example_is_enough():
    one = data.Split(split.images[:1], split.labels[:1])
    rows = measured(classifier, one, 8, {"fgsm": ATTACKS["fgsm"]}, {"0": 0.0})
    assert [(r.n, r.value) for r in rows] == [(1, 1.0)] * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.3,0.1", {"0.1": 0.1, "0.3": 0.3}),
        (" 8/255 , 0,1/2", {"0": 0.0, "8/255": 8 / 255, "1/2": 0.5}),
        ("1e-3,16/255,8", {"1e-3": 0.001, "16/255": 16 / 255, "8": 8.0}),
        ("0.1,", {"0.1": 0.1}),
        ("", {}),
        (" , ", {}),
    ],
)
def test_epsilons_keep_their_writing_and_grow(text, expected):
    found = parse_epsilons(text)
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1,a", r"epsilons='0.1,a': 'a' is no number. Write numbers or fractions"),
        ("8/0", "'8/0' is no number"),
        ("8:255", "'8:255' is no number"),
        ("0.1 0.2", "'0.1 0.2' is no number"),
        ("nan", "'nan' is no number"),
        ("inf", "'inf' is no number"),
        ("1e400", "'1e400' is no number"),
        ("-0.1", r"epsilon=-0.1 is outside \[0, inf\)"),
        ("0.1,-8/255", r"epsilon=-0.03\d* is outside"),
        ("0.1,0.2,0.1", "names 0.1 twice"),
        ("0.5,1/2", "names 1/2 twice"),
    ],
)
def test_what_is_no_list_of_epsilons(text, message):
    with pytest.raises(ValueError, match=message):
        parse_epsilons(text)
