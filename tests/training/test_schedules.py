"""Schedules against closed forms, at every step of a training and beyond."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.training import schedules

PEAK = 0.4
MAKE = {name: getattr(schedules, name) for name in schedules.__all__}


def after_warmup(name, t, steps, *, final=0.0, milestones=(0.5, 0.75), factor=0.1):
    """What the definition says t steps into the `steps` after the warm-up."""
    if name == "constant":
        return PEAK
    if name == "cosine":
        wave = (1 + math.cos(math.pi * min(t / steps, 1))) / 2
        return PEAK * (final + (1 - final) * wave)
    if name == "exponential":
        final = final or 0.01
        return PEAK * final ** min(t / steps, 1)
    return PEAK * factor ** sum(t >= round(share * steps) for share in milestones)


def values(schedule, steps):
    return np.array([float(schedule(t)) for t in steps])


@pytest.mark.parametrize("warmup", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("name", MAKE)
def test_every_schedule_climbs_in_a_line_then_follows_its_definition(name, warmup):
    rising = int(40 * warmup)
    expected = [PEAK * t / rising for t in range(rising)]
    expected += [after_warmup(name, t, 40 - rising) for t in range(60 - rising)]
    schedule = MAKE[name](PEAK, 40, warmup=warmup)
    np.testing.assert_allclose(values(schedule, range(60)), expected, atol=1e-7)
    assert schedule(rising) == pytest.approx(PEAK)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    num_steps=st.integers(1, 30),
    warmup=st.floats(0, 0.9),
    milestones=st.lists(st.floats(0, 1), max_size=4),
    factor=st.floats(0, 1),
    final=st.floats(0, 1),
)
def test_any_options(num_steps, warmup, milestones, factor, final):
    rising = round(warmup * num_steps)
    steps = max(num_steps - rising, 1)
    for name, options in (
        ("cosine", {"final": final}),
        ("exponential", {"final": max(final, 1e-3)}),
        ("step", {"milestones": milestones, "factor": factor}),
    ):
        schedule = MAKE[name](PEAK, num_steps, warmup=warmup, **options)
        expected = [after_warmup(name, t, steps, **options) for t in range(steps + 2)]
        found = values(schedule, range(rising, rising + steps + 2))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_milestones_that_fall_on_one_step_all_count():
    schedule = schedules.step(PEAK, 3, milestones=(0.5, 0.75), factor=0.5)
    np.testing.assert_allclose(values(schedule, range(3)), [0.4, 0.4, 0.1])


def test_the_cosine_ends_at_its_share_of_the_peak_and_stays():
    schedule = schedules.cosine(PEAK, 10, warmup=0.2, final=0.25)
    np.testing.assert_allclose(values(schedule, [10, 11, 1000]), 0.1, rtol=1e-6)
    assert float(schedule(9)) > 0.1


@pytest.mark.parametrize("name", MAKE)
def test_a_longer_training_has_the_same_shape(name):
    short, long = (MAKE[name](PEAK, n, warmup=0.2) for n in (100, 10_000))
    steps = np.arange(100)
    found = values(long, 100 * steps)
    np.testing.assert_allclose(found, values(short, steps), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MAKE)
def test_a_warmup_may_be_all_of_the_training(name):
    schedule = MAKE[name](PEAK, 8, warmup=1.0)
    found = values(schedule, range(8))
    np.testing.assert_allclose(found, PEAK * np.arange(8) / 8, rtol=1e-6)


@pytest.mark.parametrize("name", MAKE)
def test_a_peak_of_zero_trains_nothing(name):
    schedule = MAKE[name](0.0, 10, warmup=0.3)
    np.testing.assert_array_equal(values(schedule, range(12)), 0.0)


@pytest.mark.parametrize("name", MAKE)
def test_schedules_run_under_jit(name):
    schedule = MAKE[name](PEAK, 20, warmup=0.25)
    steps = np.arange(25)
    traced = jax.jit(jax.vmap(schedule))(steps)
    np.testing.assert_allclose(traced, values(schedule, steps), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    ("peak", "num_steps", "warmup", "message"),
    [
        (-0.1, 10, 0.0, r"learning_rate=-0.1 is outside \[0, inf\). It is positive"),
        (math.nan, 10, 0.0, "learning_rate=nan is outside"),
        (math.inf, 10, 0.0, "learning_rate=inf is outside"),
        (0.1, 0, 0.0, "num_steps=0 is not a whole number of at least 1"),
        (0.1, 10, 1.5, r"warmup=1.5 is outside \[0, 1\]. It is a share of the tr"),
        (0.1, 10, -0.5, "warmup=-0.5 is outside"),
    ],
)
def test_what_all_refuse(name, peak, num_steps, warmup, message):
    with pytest.raises(ValueError, match=message):
        MAKE[name](peak, num_steps, warmup=warmup)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosine", {"final": 1.5}, r"final=1.5 is outside \[0, 1\]. .* of the peak"),
        ("step", {"factor": 10.0}, r"factor=10.0 is outside \[0, 1\]"),
        ("step", {"factor": -0.1}, "factor=-0.1 is outside"),
        ("step", {"milestones": (0.5, 60.0)}, "entry of milestones=60.0 is outside"),
    ],
)
def test_what_one_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        MAKE[name](PEAK, 10, **options)
