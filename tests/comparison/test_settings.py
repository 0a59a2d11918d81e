"""What a comparison's config is read as, and what of it is refused."""

import ml_collections
import pytest

from robustlabels import comparison
from robustlabels.comparison import cells

SOFTMAX = {"name": "Softmax"}


def config(**changed):
    fields = {
        "num_seeds": 2,
        "data": {"name": "digits", "balanced": True},
        "encoder": {"name": "MLP", "widths": (8,)},
        "optimizer": {"name": "adam"},
        "learning_rate": {"name": "constant", "peak": 1e-3},
        "training": {"num_epochs": 3, "batch_size": 50},
        "evaluation": {"epsilons": "0.1", "attacks": {"pgd": {"name": "pgd"}}},
        "objectives": {
            "smoothed": {"head": SOFTMAX, "objective": {"name": "label_smoothing"}},
            "softmax": {"head": SOFTMAX, "objective": {"name": "softmax"}},
        },
        "compare": {
            "learning_rates": (1e-3, 1e-2),
            "swap_rates": (0.2,),
            "left_out": (9,),
        },
    }
    return ml_collections.ConfigDict({**fields, **changed})


def test_the_reference_comes_first_and_all_else_is_alike():
    read = comparison.read(config())
    assert list(read.candidates) == ["softmax", "smoothed"]
    assert (read.swap_rates, read.left_out) == ((0.2,), (9,))
    for candidates in read.candidates.values():
        assert [c.config.learning_rate.peak for c in candidates] == [1e-3, 1e-2]
    one, other = (c[0].config.to_dict() for c in read.candidates.values())
    assert {key for key in one if one[key] != other[key]} == {"objective"}


def test_the_command_line_changes_runs_and_the_comparison():
    arguments = ["--config.training.num_epochs=7", "--config.compare.swap_rates=()"]
    read = comparison.read(config(), arguments)
    assert read.swap_rates == ()
    epochs = {
        c.config.training.num_epochs for cs in read.candidates.values() for c in cs
    }
    assert epochs == {7}


def test_an_objective_has_a_grid_of_its_own():
    objectives = config().objectives.to_dict()
    objectives["smoothed"]["grid"] = ("objective.smoothing=0.1,0.3",)
    read = comparison.read(config(objectives=objectives))
    chosen = [c.chosen for c in read.candidates["smoothed"]]
    assert len(chosen) == 4
    assert chosen[1] == {"learning_rate.peak": "0.001", "objective.smoothing": "0.3"}
    assert read.candidates["smoothed"][1].config.objective.smoothing == 0.3
    assert len(read.candidates["softmax"]) == 2


def test_cells_are_fair():
    read = comparison.read(config())
    searched, measured = cells.searched(read), list(cells.measured(read))
    assert len(searched) == 4
    assert {c.config.num_seeds for c in searched} == {1}
    assert not any(c.config.evaluation.attacks for c in searched)
    # The test images are for the runs that questions are answered by, and for no other.
    assert {c.config.evaluation.split for c in searched} == {"validation"}
    assert {c.config.evaluation.split for c in measured} == {"test"}
    assert [c.name for c in measured] == [
        "all-softmax",
        "all-smoothed",
        "swapped-0.2-softmax",
        "swapped-0.2-smoothed",
        "left_out-softmax",
        "left_out-smoothed",
    ]
    for cell in measured:
        assert bool(cell.config.evaluation.attacks) == (cell.kind == "all")
        assert cell.config.data.swap_rate == (0.2 if cell.kind == "swapped" else 0.0)
        left_out = (9,) if cell.kind == "left_out" else ()
        assert tuple(cell.config.data.left_out) == left_out
        assert cell.config.num_seeds == 2


def test_a_part_of_the_data_is_trained_for_as_many_steps():
    read = comparison.read(config(compare={"train_fractions": (0.1,)}))
    *_, cell = cells.measured(read)
    assert (cell.config.data.train_fraction, cell.config.training.passes) == (0.1, 0)
    assert cells.searched(read) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"objectives": {}}, "needs config.objectives with two names or more"),
        ({"compare": {"refrence": "softmax"}}, "has no refrence; it takes reference"),
        ({"compare": {"reference": "glvq"}}, "reference"),
        ({"compare": {"train_fractions": (1.0,)}}, "train_fractions"),
        ({"compare": {"swap_rates": (0.5,)}}, "swap_rates"),
        ({"compare": {"learning_rates": (-1.0,)}}, "learning_rates"),
        (
            {"objectives": {"softmax": {"head": SOFTMAX}, "other": {"head": SOFTMAX}}},
            "lacks objective",
        ),
        (
            {
                "objectives": {
                    "softmax": {"head": SOFTMAX, "objective": {"name": "softmax"}},
                    "wrong": {"head": SOFTMAX, "objective": {"name": "sofmax"}},
                }
            },
            "config.objectives.wrong: 'sofmax' is not in",
        ),
    ],
)
def test_what_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        comparison.read(config(**changed))


def test_only_some_objectives():
    fields = config().objectives.to_dict()
    fields["third"] = fields["smoothed"]
    read = comparison.read(config(objectives=fields), only=["third"])
    assert list(read.candidates) == ["softmax", "third"]
    with pytest.raises(ValueError, match="alone is no comparison"):
        comparison.read(config(), only=["softmax"])
    with pytest.raises(ValueError, match="glvq"):
        comparison.read(config(), only=["glvq"])
