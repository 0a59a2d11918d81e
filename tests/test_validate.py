"""Argument checks: what passes, and what an error says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustlabels import _validate

FIX = "Write 8/255, not 8."


@pytest.mark.parametrize(
    "value",
    [
        0,
        0.25,
        1.0,
        np.float32(1.0),
        np.array([0.0, 1.0]),
        jnp.array([[0.0], [1.0]]),
        jnp.bfloat16(0.5),
        [0.0, 1.0],
        (),
        None,
    ],
    ids=repr,
)
def test_values_within_the_range_and_on_its_borders_pass(value):
    _validate.in_range(0.0, 1.0, fix=FIX, epsilon=value)


def test_a_float32_border_is_not_refused_for_its_rounding():
    border = 8 / 255
    assert float(np.float32(border)) > border
    _validate.in_range(0.0, border, fix=FIX, a=np.float32(border), b=jnp.array(border))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8, "epsilon=8"),
        (-1e-3, "epsilon=-0.001"),
        (1 + 1e-6, "epsilon=1.000001"),
        (float("nan"), "epsilon=nan"),
        (float("inf"), "epsilon=inf"),
        (np.float32(1.5), "epsilon=1.5"),
        (np.array([0.5, 1.25, 7.0]), "an entry of epsilon=1.25"),
        (jnp.array([[0.5], [np.nan]]), "an entry of epsilon=nan"),
        ([0.0, -0.5], "an entry of epsilon=-0.5"),
    ],
    ids=repr,
)
def test_values_outside_of_the_range_are_named_with_the_range_and_the_fix(value, shown):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        _validate.in_range(0.0, 1.0, fix=FIX, epsilon=value)
    assert str(error.value) == f"{shown} is outside [0, 1]. {FIX}"


@pytest.mark.parametrize(
    ("low", "high", "value", "interval"),
    [
        (0.0, np.inf, np.inf, "[0, inf)"),
        (0.0, np.inf, -1.0, "[0, inf)"),
        (-np.inf, 0.5, -np.inf, "(-inf, 0.5]"),
        (-np.inf, np.inf, np.nan, "(-inf, inf)"),
    ],
)
def test_a_range_without_end_is_open_there(low, high, value, interval):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        _validate.in_range(low, high, fix=FIX, tau=value)
    assert str(error.value) == f"tau={value} is outside {interval}. {FIX}"
    _validate.in_range(low, high, fix=FIX, tau=0.25)


@pytest.mark.parametrize("value", ["8/255", True, object], ids=repr)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=r"epsilon=.* is not a number"):
        _validate.in_range(0.0, 1.0, fix=FIX, epsilon=value)


def test_every_value_is_checked_and_the_culprit_named():
    with pytest.raises(ValueError, match=r"^tau_end=-1\.0 is outside"):
        _validate.in_range(0.0, 1.0, fix=FIX, tau_start=0.5, tau_end=-1.0)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_traced_values_pass(transform):
    calls = []

    def checked(value):
        _validate.in_range(0.0, 1.0, fix=FIX, epsilon=value)
        calls.append(value)
        return value

    transform(checked)(8.0 if transform is not jax.vmap else jnp.array([8.0, -1.0]))
    assert isinstance(calls[0], jax.core.Tracer)


def test_concrete_values_are_checked_inside_of_jit():
    bad = jnp.array([0.5, 8.0])

    def checked(x):
        _validate.in_range(0.0, 1.0, fix=FIX, epsilon=bad)
        return x

    with pytest.raises(ValueError, match=r"an entry of epsilon=8\.0 is outside"):
        jax.jit(checked)(1.0)


@pytest.mark.parametrize("value", [1, 100, np.int64(1), np.uint8(3)], ids=repr)
def test_whole_numbers_from_the_minimum_on_count(value):
    _validate.count(num_steps=value)
    _validate.count(minimum=int(value), num_steps=value)


@pytest.mark.parametrize(
    "value", [0, -1, 1.0, 2.5, True, np.True_, "3", None, np.float32(2)], ids=repr
)
def test_anything_else_does_not_count(value):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        _validate.count(num_steps=value)
    assert str(error.value) == (
        f"num_steps={value!r} is not a whole number of at least 1."
    )


def test_a_count_may_have_another_minimum():
    _validate.count(minimum=0, extra=0)
    with pytest.raises(
        ValueError, match="classes=1 is not a whole number of at least 2"
    ):
        _validate.count(minimum=2, prototypes=2, classes=1)


@pytest.mark.parametrize("choices", [("linf", "l2"), {"linf": 1, "l2": 2}, iter])
def test_one_of_the_choices_passes_and_others_are_told_them(choices):
    def fresh():
        return iter(["linf", "l2"]) if choices is iter else choices

    _validate.one_of(fresh(), norm="linf", other="l2")
    with pytest.raises(ValueError) as error:  # noqa: PT011
        _validate.one_of(fresh(), norm="linf", other="l1")
    assert str(error.value) == "other='l1' is unknown; choose one of 'linf', 'l2'."
