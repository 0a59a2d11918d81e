"""A split under attack against a plain loop over single examples and single steps."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from small_classifier import batch, classifier, outputs_of, rng, split, weights

from robustlabels import attacks, data, objective, parallel
from robustlabels._stopping import Stopped
from robustlabels.evaluation import budgets, engine, make_attacker, slots
from robustlabels.objective import Objective, bind

EPSILONS = [0.0, 0.02, 0.05, 0.12]
KEY = jax.random.key(11)
STEPS = {"pgd": 23, "fgsm": 1, "noise": 0}  # Of those that are run alone, too.
# Of an example: steps at four epsilons, at least one at each; a search is one for all.
UNITS = {"pgd": 4 * 23, "fgsm": 4, "noise": 4, "square": 4 * 23, "ddn": 23}
ATTACKS = {
    "pgd": budgets.pgd(num_steps=23, relative_step_size=0.1),
    "fgsm": budgets.fgsm(),
    "noise": budgets.uniform_noise(),
    "square": budgets.square(num_steps=23),
    "ddn": budgets.ddn(num_steps=23),
}
ONE, TWO = (parallel.make_mesh(jax.devices()[:count]) for count in (1, 2))


def own(classifier):
    return classifier.loss


@functools.cache
def attacker(name, mesh=ONE, batch_size=5):
    return make_attacker(
        ATTACKS[name], own, mesh=mesh, batch_size=batch_size, cell=[name]
    )


def run(name, mesh=ONE, batch_size=5, epsilons=EPSILONS, **arguments):
    made = attacker(name, mesh, batch_size)
    return made(classifier, split, epsilons, key=KEY, **arguments)


@functools.cache
def programs_alone(name):
    """Start and step of the public attack on one example."""

    def iteration(x, epsilon, index):
        key = jax.random.fold_in(KEY, index)[None]
        if name == "noise":
            return attacks.uniform_noise_iteration(epsilon=epsilon, key=key)
        return attacks.pgd_iteration(
            classifier.loss,
            epsilon=epsilon,
            num_steps=STEPS[name],
            step_size=epsilon if name == "fgsm" else 0.1 * epsilon,
            key=None if name == "fgsm" else key,
        )

    begin = jax.jit(lambda x, y, e, i: iteration(x, e, i).init(x, y))
    step = jax.jit(lambda state, x, e, i: iteration(x, e, i).step(state))
    result = iteration(batch[0], 0.1, 0).result
    return begin, step, result


def walk(state, step, x, epsilon, index, num_steps):
    """The states that are judged: after every ten steps and at the end."""
    for taken in range(1, num_steps + 1):
        state = step(state, x, epsilon, index)
        if taken % 10 == 0 and taken < num_steps:
            yield state
    yield state


@functools.cache
def alone(name):
    """(epsilon, image) by which each example fell, example by example, step by step."""
    begin, step, result = programs_alone(name)
    scores = jax.jit(classifier.scores)
    found = []
    for i, (x, y) in enumerate(zip(*batch, strict=True)):
        x = x[None]

        def wrong(image, y=y):
            return int(np.argmax(np.asarray(scores(image)))) != int(y)

        if wrong(x):
            found.append((-1, None))
            continue
        fell, state = len(EPSILONS), None
        for level, epsilon in enumerate(EPSILONS):
            if fell == len(EPSILONS):
                state = begin(x, y[None], epsilon, i)
                for judged in walk(state, step, x, epsilon, i, STEPS[name]):
                    state = judged
                    if wrong(result(state)):
                        fell = level
                        break
        found.append((fell, np.asarray(result(state))[0]))
    return found


@pytest.mark.parametrize(
    ("name", "mesh", "batch_size"),
    [
        ("pgd", ONE, 1),
        ("pgd", ONE, 5),
        ("pgd", ONE, 1000),
        ("pgd", TWO, 5),
        ("pgd", TWO, 1000),
        ("fgsm", ONE, 5),
        ("noise", ONE, 5),
    ],
)
def test_every_example_fares_as_it_does_alone(name, mesh, batch_size):
    outcome, expected = run(name, mesh, batch_size), alone(name)
    np.testing.assert_array_equal(outcome.fallen, [level for level, _ in expected])
    counts = np.bincount(outcome.fallen + 1, minlength=6)
    assert counts[0] > 0  # Some are wrong from the start,
    assert counts[-1] > 0  # some stand,
    assert np.sum(counts[1:-1] > 0) >= 2  # and some fall at different epsilons.
    clean = np.asarray(batch[0])
    for i, (level, image) in enumerate(expected):
        if not 0 <= level < len(EPSILONS):
            assert outcome.confidence[i] == outcome.distances[i].sum() == 0
            continue
        change = np.abs(image - clean[i]).ravel()
        lengths = change.sum(), np.sqrt(np.sum(change**2)), change.max()
        np.testing.assert_allclose(outcome.distances[i, 1:], lengths, atol=1e-4)
        assert outcome.distances[i, 0] == np.sum(change != 0)
        rounded = np.round(image * 255) / 255
        for image_there, decision in ((image, outcome.decision[i]), (rounded, None)):
            logits = np.tanh(image_there.ravel() @ weights[0]) @ weights[1]
            if decision is None:
                still = logits.argmax() != split.labels[i]
                assert outcome.survives_rounding[i] == still
                continue
            assert decision == logits.argmax()
            chances = np.exp(logits) / np.exp(logits).sum()
            assert outcome.confidence[i] == pytest.approx(chances.max(), abs=1e-4)


def test_the_images_shown_are_those_of_the_first_ten_that_were_right():
    shown, expected = run("pgd").shown, alone("pgd")
    right = [i for i, (level, _) in enumerate(expected) if level >= 0][:10]
    np.testing.assert_array_equal(shown.examples, right)
    fell = [expected[i][0] < len(EPSILONS) for i in right]
    assert 0 < sum(fell) < 10
    for place, i in enumerate(right):
        image = expected[i][1]
        np.testing.assert_allclose(shown.perturbed[place], image, atol=1e-5)
        logits = np.tanh(image.ravel() @ weights[0]) @ weights[1]
        assert shown.decisions[place] == logits.argmax()
        chances = np.exp(logits) / np.exp(logits).sum()
        assert shown.confidences[place] == pytest.approx(chances.max(), abs=1e-4)


def test_a_sweep_is_its_epsilons_one_by_one():
    swept = run("pgd").fallen
    alone_at = np.array([run("pgd", epsilons=[e]).fallen for e in EPSILONS])
    fell = np.where(np.any(alone_at == 0, axis=0), np.argmax(alone_at == 0, axis=0), 4)
    np.testing.assert_array_equal(swept, np.where(alone_at[0] < 0, -1, fell))


def test_an_example_that_falls_on_the_way_has_fallen():
    """The loss falls again after the decision went wrong: the last image is right."""

    def wave(x):
        return jnp.where(jnp.abs(x[:, 0, 0, 0] - 0.6) < 0.09, -1.0, 1.0)

    def scores(x):
        return jnp.stack([wave(x), jnp.zeros(len(x))], axis=1)

    of_images = Objective(
        loss=Partial(lambda x, y: x.sum((1, 2, 3))),
        scores=Partial(scores),
        confidence=Partial(wave),
    )
    bumpy = bind(of_images, lambda x: x)
    one = data.Split(np.full((1, 1, 1, 1), 0.5, np.float32), np.zeros(1, np.int32))
    # A pixel of 0.5 walks by 0.01 a step, and is decided wrongly from step 2 to 18.
    for num_steps, falls in ((1, False), (5, True), (30, True)):
        attack = budgets.pgd(
            num_steps=num_steps, relative_step_size=0.02, random_start=False
        )
        made = make_attacker(attack, own, mesh=ONE, batch_size=1)
        fallen = made(bumpy, one, [0.5], key=KEY).fallen
        assert (fallen[0] == 0) == falls
        assert wave(np.full((1, 1, 1, 1), 0.5 + 0.01 * num_steps)) == (
            -1 if num_steps == 5 else 1
        )


def test_targets_lead_the_loss_and_the_truth_judges():
    targeted = make_attacker(
        ATTACKS["fgsm"],
        lambda c: attacks.targeted(c.loss),
        mesh=ONE,
        batch_size=5,
    )
    x, y = batch
    upright = np.asarray(classifier.scores(x)).argmax(1) == np.asarray(y)
    alone = jax.jit(
        lambda towards, epsilon: classifier.scores(
            attacks.fgsm(attacks.targeted(classifier.loss), x, towards, epsilon=epsilon)
        )
    )
    for target in range(3):
        towards = np.full(23, target, np.int32)
        found = targeted(classifier, split, EPSILONS, key=KEY, towards=towards)
        expected = np.where(upright, 4, -1)
        for level in reversed(range(4)):
            decisions = np.asarray(alone(towards, EPSILONS[level])).argmax(1)
            wrong = decisions != np.asarray(y)
            expected[upright & wrong] = level
        np.testing.assert_array_equal(found.fallen, expected)


def test_those_given_as_wrong_are_never_attacked():
    right = np.arange(23) % 2 == 0
    found, expected = run("fgsm", right=right), run("fgsm")
    np.testing.assert_array_equal(found.fallen[~right], -1)
    both = right & (expected.fallen >= 0)
    np.testing.assert_array_equal(found.fallen[both], expected.fallen[both])


def same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


class Countdown:
    """Says to stop at the call of a number."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self):
        self.calls -= 1
        return self.calls < 0


@pytest.mark.parametrize(
    ("name", "mesh", "calls"),
    [
        ("pgd", ONE, 0),
        ("pgd", ONE, 1),
        ("pgd", ONE, 4),
        ("pgd", TWO, 3),
        ("noise", ONE, 1),
        ("square", TWO, 4),
        ("ddn", ONE, 4),
    ],
)
def test_what_was_stopped_goes_on_to_the_same_outcome(name, mesh, calls, tmp_path):
    expected, file = run(name, mesh), tmp_path / "some" / "ledger.npz"
    stops = 0
    while True:
        told = []
        try:
            found = run(
                name, mesh, ledger=file, advance=told.append, stop=Countdown(calls)
            )
        except Stopped:
            stops += 1
            calls = max(calls, 1)
            continue
        break
    assert stops > 1
    same(found, expected)
    assert sum(told) == attacker(name).num_units(23, len(EPSILONS))
    assert [p.name for p in file.parent.iterdir()] == ["ledger.npz"]
    again = run(name, mesh, ledger=file, stop=lambda: True)  # Nothing is left to do.
    same(again, expected)


@pytest.mark.parametrize(("mesh", "size", "fewest"), [(ONE, 10, 2), (TWO, 18, 4)])
def test_fewer_slots_find_the_same(mesh, size, fewest, tmp_path, monkeypatch):
    epsilons = [0.05, 0.12, 0.2, 0.3]
    expected = run("pgd", mesh, size, epsilons)
    monkeypatch.setattr(slots, "WORTH_NARROWING", 0)
    widths, told, step = [], [], slots.Slots.step

    def watched(self):
        widths.append(len(self._example))
        return step(self)

    monkeypatch.setattr(slots.Slots, "step", watched)
    found = run("pgd", mesh, size, epsilons, advance=told.append)
    np.testing.assert_array_equal(found.fallen, expected.fallen)
    np.testing.assert_allclose(found.distances, expected.distances, atol=1e-5)
    assert sum(told) == attacker("pgd").num_units(23, len(epsilons))
    assert widths == sorted(widths, reverse=True)
    assert np.sum(found.fallen >= 0) > size  # More than there are slots.
    assert (widths[0], widths[-1]) == (size, fewest)
    file, stops = tmp_path / "ledger.npz", 0
    while True:
        try:
            again = run("pgd", mesh, size, epsilons, ledger=file, stop=Countdown(2))
            break
        except Stopped:
            stops += 1
    assert stops > 1
    same(again, found)


def test_another_batch_size_goes_on_too(tmp_path):
    file = tmp_path / "ledger.npz"
    with pytest.raises(Stopped):
        run("pgd", batch_size=5, ledger=file, stop=Countdown(3))
    found = run("pgd", batch_size=1000, ledger=file)
    np.testing.assert_array_equal(found.fallen, run("pgd").fallen)


def test_a_ledger_is_kept_while_work_goes_on(tmp_path, monkeypatch):
    file, now, chunks = tmp_path / "ledger.npz", [0.0], []
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(engine, "time", clock)

    def killed():
        now[0] += 2.0  # So that every third chunk is due.
        chunks.append(file.exists())
        if len(chunks) == 6:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run("pgd", ledger=file, stop=killed)
    assert chunks == [False, False, False, True, True, True]
    told, again = [], []
    same(run("pgd", ledger=file, advance=told.append), run("pgd", advance=again.append))
    assert len(told) == len(again) - 2
    assert told[0] > again[0]


@pytest.mark.parametrize("length", [0, 1, 300, 2000])
def test_a_torn_ledger_is_named_and_not_used(length, tmp_path, capsys):
    file = tmp_path / "ledger.npz"
    expected = run("pgd", ledger=file)
    file.write_bytes(file.read_bytes()[:length])
    same(run("pgd", ledger=file), expected)
    assert f"{file} is damaged" in capsys.readouterr().err
    same(run("pgd", ledger=file, stop=lambda: True), expected)


def other_classifier():
    other = [w + np.float32(0.1) for w in weights]
    predict = Partial(outputs_of, *map(jnp.asarray, other))
    return objective.bind(objective.softmax().at({}, 1.0), predict)


def test_the_ledger_of_anything_else_is_named_and_not_used(tmp_path, capsys):
    made = attacker("fgsm")
    images = split.images.copy()
    images[0, 0, 0, 0] ^= 1
    arguments = {"key": KEY, "epsilons": EPSILONS, "split": split, "towards": None}
    changes = [
        {"classifier": other_classifier()},
        {"key": jax.random.key(12)},
        {"epsilons": EPSILONS[:-1]},
        {"split": split._replace(images=images)},
        {"split": split._replace(labels=np.zeros(23, np.int32))},
        {"towards": np.zeros(23, np.int32)},
    ]
    for number, change in enumerate(changes):
        file = tmp_path / f"{number}.npz"
        run("fgsm", ledger=file)
        assert capsys.readouterr().err == ""
        used = {"classifier": classifier, **arguments, **change}
        found = made(**used, ledger=file)
        assert f"{file} belongs to another classifier" in capsys.readouterr().err
        same(found, made(**used))
        same(found, made(**used, ledger=file, stop=lambda: True))


def test_other_parameters_are_another_cell(tmp_path, capsys):
    file = tmp_path / "ledger.npz"
    run("fgsm", ledger=file)
    found = run("noise", ledger=file)
    assert "belongs to another classifier, attack" in capsys.readouterr().err
    same(found, run("noise"))


def test_a_full_disk_costs_no_ledger(tmp_path, monkeypatch):
    file = tmp_path / "ledger.npz"
    with pytest.raises(Stopped):
        run("pgd", ledger=file, stop=Countdown(2))
    before = file.read_bytes()

    def full(file, *args, **kwargs):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            run("pgd", ledger=file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.npz"]
    same(run("pgd", ledger=file), run("pgd"))


def test_one_compile_serves_all_epsilons_examples_and_replicas():
    traces = []

    def counted(classifier):
        traces.append(1)
        return classifier.loss

    made = make_attacker(ATTACKS["pgd"], counted, mesh=TWO, batch_size=6)
    made(classifier, split, EPSILONS[:2], key=KEY)
    once = len(traces)
    for replica in (classifier, other_classifier()):
        made(replica, split, EPSILONS, key=jax.random.key(len(traces)))
        made(replica, data.Split(*(part[3:20] for part in split)), [0.1], key=KEY)
    assert len(traces) == once
    for program in ("place", "begin", "choose", "advance"):
        assert getattr(made.programs, program)._cache_size() == 1


@pytest.mark.parametrize("name", ATTACKS)
def test_progress_adds_up(name):
    told = []
    run(name, advance=told.append)
    total = attacker(name).num_units(23, len(EPSILONS))
    assert sum(told) == total == 23 * UNITS[name]
    assert all(units >= 0 for units in told)


@pytest.mark.parametrize("epsilons", [[], [0.2, 0.1], [0.1, 0.1]])
def test_epsilons_have_to_grow(epsilons):
    with pytest.raises(ValueError, match=r"epsilons=\[.*\] do not grow"):
        run("fgsm", epsilons=epsilons)


def test_a_ledger_needs_a_cell(tmp_path):
    made = make_attacker(ATTACKS["fgsm"], own, mesh=ONE, batch_size=5)
    with pytest.raises(ValueError, match="call make_attacker with cell="):
        made(classifier, split, EPSILONS, key=KEY, ledger=tmp_path / "ledger.npz")


def test_floats_are_images_too():
    floats = split._replace(images=(split.images / 255).astype(np.float32))
    made = attacker("pgd")
    np.testing.assert_array_equal(
        made(classifier, floats, EPSILONS, key=KEY).fallen, run("pgd").fallen
    )


def test_where_all_are_wrong_nothing_is_attacked():
    wrong = split._replace(labels=((split.labels + rng.integers(1, 2, 23)) % 3))
    wrong = wrong._replace(labels=wrong.labels.astype(np.int32))
    none = np.zeros(23, bool)
    outcome = attacker("pgd")(
        classifier, wrong, EPSILONS, key=KEY, right=none, stop=lambda: True
    )
    assert np.all(outcome.fallen == -1)
    assert len(outcome.shown.examples) == 0
