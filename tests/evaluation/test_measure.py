"""Measuring a split against a plain loop over its examples, one at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from small_classifier import batch, classifier, split

from robustlabels import attacks, data
from robustlabels.evaluation import budgets, measure, parse_epsilons
from robustlabels.objective import Classifier

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


def measured(classifier, split, batch_size, chosen=ATTACKS, epsilons=EPSILONS):
    return list(
        measure(
            classifier,
            split,
            chosen,
            epsilons=epsilons,
            identity={"data": "fake", "epoch": 3},
            split_name="validation",
            batch_size=batch_size,
            seed=SEED,
        )
    )


@pytest.fixture(scope="module")
def records():
    return measured(classifier, split, 8)


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


def test_the_clean_row_is_the_accuracy(records):
    x, y = batch
    right = np.argmax(np.asarray(classifier.scores(x)), axis=1) == np.asarray(y)
    assert 0 < right.mean() < 1
    assert records[0].value == pytest.approx(right.mean(), abs=1e-9)
    assert records[0].parameters == {}
    assert records[0].zero_gradients is None


def test_what_a_record_says(records):
    for record in records:
        assert record.classifier == {"data": "fake", "epoch": 3}
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


def half_dead_scores(x):
    """The last image's logits and all others move by one pixel each, or not at all."""
    bright = jax.nn.relu(x[:, 0, 0, 0] - 0.5)
    return jnp.stack([bright, -bright], axis=1)


def half_dead_loss(x, labels):
    return jnp.where(x[:, 1, 1, 0] > 0.75, half_dead_scores(x)[:, 1], 0.0)


def test_the_share_of_zero_gradients_is_that_of_the_split():
    classifier = Classifier(
        loss=Partial(half_dead_loss),
        scores=Partial(half_dead_scores),
        confidence=Partial(half_dead_scores),
    )
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
    classifier = Classifier(*(Partial(refuses),) * 3)
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
