"""The table against NumPy on run folders with planted outcomes, and what it says."""

import numpy as np
import pytest
from planted import run

from robustlabels import comparison

RNG = np.random.default_rng(0)
N = 300
QUICK = {"num_resamples": 2000}


def outcomes(share, seeds=2):
    return RNG.uniform(size=(seeds, N)) < share


def fallen(right, shares):
    """Index of the first epsilon at which each example falls, -1 for wrong ones."""
    draw = RNG.uniform(size=right.shape)
    index = sum((draw < share).astype(int) for share in shares)
    return np.where(right, index, -1)


def test_values_are_means_over_seeds_of_what_happened_to_each_example(tmp_path):
    right = outcomes(0.9)
    own, margin = fallen(right, (0.8, 0.5)), fallen(right, (0.6, 0.3))
    planted = {"right": right, "own": own, "margin": margin}
    folder = run(tmp_path / "a", **planted, speed=50.0, parameters=20)
    other = run(tmp_path / "b", right=right, own=own, margin=margin)
    table = comparison.tabulate({"b": other, "a": folder}, reference="b", **QUICK)
    entries = table.entries["a"]
    worst = np.minimum(own, margin)
    assert entries["accuracy"].value == pytest.approx(right.mean())
    assert entries["accuracy"].seeds == pytest.approx(right.mean(axis=1))
    assert entries["robust at 0.1"].value == pytest.approx((worst > 0).mean())
    assert entries["robust at 0.2"].value == pytest.approx((worst > 1).mean())
    clean, first, second = right.mean(), (worst > 0).mean(), (worst > 1).mean()
    area = ((clean + first) / 2 * 0.1 + (first + second) / 2 * 0.1) / 0.2
    assert entries["robust area"].value == pytest.approx(area)
    assert table.curves["a"] == pytest.approx({"0": clean, "0.1": first, "0.2": second})
    assert entries["training time"].value == pytest.approx(2.0)
    assert entries["parameters"].value == pytest.approx(2.0)
    assert table.entries["b"]["training time"].value == 1.0
    assert entries["NLL"].value == pytest.approx(np.where(right, 0.1, 2.0).mean())


def test_what_no_search_found_is_as_far_as_an_image_can_be(tmp_path):
    right = np.array([[True, True, True, False]])
    own, margin = np.array([[0.5, 0.0, 0.0, 0.0]]), np.array([[0.7, 0.25, 0.0, 0.0]])
    folder = run(tmp_path / "a", right=right, distances=(own, margin))
    table = comparison.tabulate({"a": folder}, reference="a", **QUICK)
    # The smaller one; of an image of nine pixels none is further than three.
    expected = np.mean([0.5, 0.25, 3.0, 0.0])
    assert table.entries["a"]["minimum distortion"].value == pytest.approx(expected)


def test_an_objective_compared_with_itself_is_no_different(tmp_path):
    right = outcomes(0.8)
    own = fallen(right, (0.7, 0.4))
    runs = {
        name: run(tmp_path / name, right=right, own=own, margin=own)
        for name in ("softmax", "again")
    }
    table = comparison.tabulate(runs, reference="softmax", **QUICK)
    compared = [e for e in table.entries["again"].values() if e.difference is not None]
    assert len(compared) >= 6
    for entry in compared:
        assert (entry.difference, entry.low, entry.high, entry.p) == (0, 0, 0, 1)
        assert not entry.significant
    assert any("nothing tells softmax from again" in line for line in table.verdict)
    assert not any("helps" in line for line in table.verdict)


def test_a_planted_improvement_is_named_with_its_size(tmp_path):
    right = outcomes(0.7)
    better = right | outcomes(0.6)
    runs = {
        "softmax": run(tmp_path / "softmax", right=right),
        "better": run(tmp_path / "better", right=better),
    }
    table = comparison.tabulate(runs, reference="softmax", **QUICK)
    entry = table.entries["better"]["accuracy"]
    assert entry.difference == pytest.approx(better.mean() - right.mean())
    assert entry.significant
    assert entry.low < entry.difference < entry.high
    (said,) = [line for line in table.verdict if line.startswith("better helps")]
    assert f"accuracy {100 * entry.difference:+.1f} points" in said


def test_a_masked_gradient_is_told_from_robustness(tmp_path):
    right = outcomes(0.9)
    weak = fallen(right, (0.6, 0.3))
    runs = {
        "softmax": run(tmp_path / "softmax", right=right, own=weak, margin=weak),
        "masked": run(
            tmp_path / "masked",
            right=right,
            own=np.where(right, 2, -1),
            margin=weak,
            signs=("restarts_matter",),
        ),
    }
    table = comparison.tabulate(runs, reference="softmax", **QUICK)
    (seeming,) = [line for line in table.verdict if "only seems" in line]
    assert seeming.startswith("masked only seems more robust than softmax")
    (hidden,) = [line for line in table.verdict if "hidden gradient" in line]
    assert hidden.endswith("an upper bound: restarts matter for masked.")
    assert table.verdict[0].endswith("can be told from softmax over the whole curve.")
    assert not table.entries["masked"]["robust area"].significant


def test_a_single_seed_is_said_to_be_one(tmp_path):
    right = outcomes(0.9, seeds=1)
    runs = {name: run(tmp_path / name, right=right) for name in ("softmax", "again")}
    table = comparison.tabulate(runs, reference="softmax", **QUICK)
    assert table.verdict[-1].startswith("With 1 seed the intervals know little")


def test_what_is_missing_says_why(tmp_path):
    right = outcomes(0.9)
    runs = {
        "softmax": run(tmp_path / "softmax", right=right),
        "other": run(tmp_path / "other", right=right),
        "failed": tmp_path / "failed",
        "later": tmp_path / "later",
    }
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "failed.json").write_text('{"message": "no class names"}')
    table = comparison.tabulate(runs, reference="softmax", root=tmp_path, **QUICK)
    assert table.num_missing == 2
    assert table.entries["failed"]["accuracy"].missing == "no class names"
    assert table.entries["later"]["accuracy"].missing == "not finished yet"
    assert table.entries["other"]["accuracy"].folder == "other"
    assert "failed has no figures: no class names." in table.verdict


def test_other_test_images_or_seeds_cannot_be_compared(tmp_path):
    runs = {
        "softmax": run(tmp_path / "softmax", right=outcomes(0.9)),
        "fewer": run(tmp_path / "fewer", right=outcomes(0.9)[:, 1:]),
    }
    with pytest.raises(ValueError, match="same test images"):
        comparison.tabulate(runs, reference="softmax", **QUICK)
    with pytest.raises(ValueError, match="reference='glvq' is none of"):
        comparison.tabulate(runs, reference="glvq")
    with pytest.raises(ValueError, match="no run of the comparison is finished"):
        comparison.tabulate({"a": tmp_path / "none"}, reference="a")
