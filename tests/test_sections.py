"""What a config may say: defaults written down, and errors that list the choices."""

import inspect

import ml_collections
import pytest

from robustlabels import data, objective, training
from robustlabels.evaluation import budgets
from robustlabels.models import encoders
from robustlabels.sections import complete, fields_of, lookup
from robustlabels.training import optimizers


def short(**changed):
    sections = {
        "data": {"name": "digits"},
        "encoder": {"name": "MLP"},
        "head": {"name": "Prototypes"},
        "objective": {"name": "sng"},
        "optimizer": {"name": "adam"},
        "learning_rate": {"name": "constant", "peak": 0.1},
        "training": {},
        "evaluation": {},
    }
    return ml_collections.ConfigDict({**sections, **changed})


def test_every_default_is_written_down():
    full = complete(short())
    for section, function in {
        "optimizer": optimizers.adam,
        "data": data.load,
        "training": training.fit,
    }.items():
        for name, parameter in inspect.signature(function).parameters.items():
            if name in full[section] and name not in ("name", "peak"):
                assert full[section][name] == parameter.default
    assert full.optimizer.b1 == 0.9
    assert full.objective.phi.to_dict() == {"name": "identity"}
    assert full.head.init == "class_means"
    assert full.encoder.dtype == "float32"
    assert full.evaluation.batch_size == 1000
    assert full.seed == 0


def test_what_is_given_stays():
    full = complete(
        short(
            optimizer={"name": "sgd", "momentum": 0.5},
            objective={"name": "glvq", "phi": {"name": "sigmoid", "beta": 10.0}},
        )
    )
    assert full.optimizer.to_dict() == {
        "name": "sgd",
        "momentum": 0.5,
        "nesterov": False,
        "weight_decay": 0.0,
    }
    assert full.objective.phi.beta == 10.0


def test_completing_twice_changes_nothing_and_leaves_the_argument():
    config = short()
    before = config.to_dict()
    full = complete(config)
    assert complete(full).to_dict() == full.to_dict()
    assert config.to_dict() == before


def test_a_hole_has_a_type():
    full = complete(short(encoder={"name": "LinearMap"}))
    assert full.encoder.features is None
    full.encoder.features = 5
    with pytest.raises(TypeError):
        full.encoder.features = "five"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": {"name": "adan"}}, "'adan' is not in .*adam, adamw, sgd"),
        ({"optimizer": {}}, "optimizer needs a name; choose one of adam"),
        ({"optimizer": {"name": "adam", "momentum": 0.9}}, "no 'momentum'; it takes"),
        ({"learning_rate": {"name": "constant"}}, "needs peak"),
        ({"objective": {"name": "sng", "phi": {"name": "cube"}}}, "'cube' is not in"),
        (
            {"training": {"epochs": 3}},
            "training has no 'epochs'; it takes .*num_epochs",
        ),
        ({"evaluation": {"epsilon": "1"}}, "evaluation has no 'epsilon'"),
        ({"evaluation": {"attacks": {"a": {"name": "cw"}}}}, "'cw' is not in"),
        ({"trainig": {}}, "config has no 'trainig'"),
        ({"training": 5}, "section training is 5; it needs fields"),
        ({"seed": -1}, "seed=-1 is not a whole number of at least 0"),
    ],
)
def test_a_wrong_config_says_what_is_right(changed, message):
    with pytest.raises(ValueError, match=message):
        complete(short(**changed))


def test_a_missing_section_is_named():
    config = short()
    del config.optimizer
    del config.training
    with pytest.raises(ValueError, match="lacks the sections optimizer, training"):
        complete(config)


@pytest.mark.parametrize("module", [objective, encoders, optimizers, budgets])
def test_lookup_finds_what_a_module_lists_and_nothing_else(module):
    for name in module.__all__:
        assert lookup(module, name) is getattr(module, name)
    with pytest.raises(ValueError, match=r"choose one of"):
        lookup(module, "__name__")


def test_fields_of_a_section_follow_its_name():
    assert fields_of(["head"], "Softmax") == set()
    assert fields_of(["head"], "Prototypes") == {"per_class", "init"}
    assert fields_of(["objective", "phi"], "sigmoid") == {"beta"}
    assert "num_steps" in fields_of(["evaluation", "attacks", "mine"], "pgd")
    with pytest.raises(ValueError, match="'training' takes no name"):
        fields_of(["training"], "sgd")


def test_the_matrices_of_an_objective_are_sections():
    full = complete(short(head={"name": "Softmax"}, objective={"name": "mcel"}))
    assert full.objective.similarity.name == "lda"
    assert full.objective.similarity.shrinkage == 1e-3
    assert full.objective.similarity.num_directions is None
    given = {"name": "mcel", "similarity": {"name": "file", "path": "a.npy"}}
    full = complete(short(objective=given))
    assert full.objective.similarity.to_dict() == {"name": "file", "path": "a.npy"}
    full = complete(short(objective={"name": "forward_corrected"}))
    assert full.objective.noise_matrix.to_dict() == {"name": "known"}
    with pytest.raises(ValueError, match="needs path"):
        complete(short(objective={"name": "mcel", "similarity": {"name": "file"}}))
    with pytest.raises(ValueError, match=r"'pca' is not in .*choose one of confusion"):
        complete(short(objective={"name": "mcel", "similarity": {"name": "pca"}}))
    assert fields_of(["objective", "similarity"], "confusion") == {"run", "batch_size"}
