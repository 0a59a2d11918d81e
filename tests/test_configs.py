"""Every config is right; a net of each kind trains, and is attacked, on small data."""

import importlib.util
import pathlib

import pytest

from robustlabels import build, comparison, objective
from robustlabels.comparison import cells
from robustlabels.evaluation import Finding, Record
from robustlabels.sections import complete

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
OF_OTHER_HEADS = ("glvq", "label_regression", "sng")
OBJECTIVES = [name for name in objective.__all__ if name not in OF_OTHER_HEADS]
LABELS = ["category", "label_smoothing", "low_dimensional", "constant", "uniform"]
LABELS += ["gaussian_composition", "speech", "shuffled_speech"]
ARGUMENTS = {
    "mnist_dlvq": ["none", "bn", "bn_noise"],
    "mnist_softmax": ["none", "bn", "bn_noise"],
    "mnist_gmlvq": ["1", "10"],
    "digits_mcel": OBJECTIVES,
    "mnist_mcel": ["mcel"],
    "cifar10_mcel": ["mcel"],
    "cifar100_mcel": ["mcel"],
    "imagenet_mcel": ["mcel"],
    "digits_labels": [*LABELS, "cnn,speech"],
    "mnist_labels": ["speech"],
    "cifar10_labels": ["speech", "vgg19,constant", "resnet110,low_dimensional"],
    "cifar100_labels": ["low_dimensional"],
}
COMPARED = {"compare": ["cnn", "mlp", "resnet20", "resnet18"], "compare_digits": [None]}
CASES = [
    (path, argument)
    for path in sorted(FOLDER.glob("*.py"))
    if path.stem not in COMPARED
    for argument in ARGUMENTS.get(path.stem, [None])
]


def load(path, argument):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*([] if argument is None else [argument]))


def test_there_are_configs():
    assert {path.stem for path, _ in CASES} >= {"digits_softmax", "digits_dlvq"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=str)
def test_a_config_needs_nothing_but_config_dicts(path):
    source = path.read_text()
    imports = [line for line in source.splitlines() if line.startswith(("imp", "from"))]
    assert imports == ["import ml_collections"]


@pytest.mark.parametrize(("path", "argument"), CASES)
def test_a_config_is_right(path, argument):
    build.check(complete(load(path, argument)))


@pytest.mark.parametrize("name", COMPARED)
def test_every_run_of_a_comparison_is_right(name):
    for argument in COMPARED[name]:
        read = comparison.read(load(FOLDER / f"{name}.py", argument))
        assert len(read.candidates) >= 9
        for cell in [*cells.searched(read), *cells.measured(read)]:
            build.check(cell.config)


# Of arguments that differ by a field one is run; residual networks, which take long to
# compile, are trained with the data of ImageNet, and label decoders by their own.
NOT_RUN = {"imagenet_mcel", "cifar10_mcel", "cifar100_mcel", "digits_mcel"}
NOT_RUN |= {"cifar10_labels", "cifar100_labels", "digits_labels", "mnist_labels"}
NOT_RUN |= {"mnist_dlvq none", "mnist_dlvq bn", "mnist_gmlvq 1", "mnist_softmax"}
RUN = [
    (path, argument)
    for path, argument in CASES
    if ("mcel" not in path.stem or argument == "mcel")
    and not {path.stem, f"{path.stem} {argument}"} & NOT_RUN
]


@pytest.mark.parametrize(("path", "argument"), RUN)
def test_a_config_trains_and_attacks(path, argument):
    config = load(path, argument)
    if config.data.name == "mnist":
        config.data = {
            "name": "fake",
            "num_examples": 360,
            "num_classes": 10,
            "image_shape": (28, 28, 1),
        }
    config.training.num_epochs = 1
    config.evaluation.num_examples = 20
    config.evaluation.losses = ("own", "margin")
    config.evaluation.epsilons = "0.1"
    config.evaluation.attacks = {"pgd": {"name": "pgd", "num_steps": 2}}
    config.evaluation.noise_images = 100
    config.evaluation.fooling_images = config.evaluation.diagnosed_examples = 0
    config = complete(config)
    dataset = build.dataset(config)
    fitted = build.fit(config, build.networks(config, dataset), dataset)
    found = list(build.evaluate(config, dataset, fitted))
    records = [each for each in found if isinstance(each, Record)]
    assert len(records) == 4
    assert all(record.n == 20 for record in records)
    kinds = [each.kind for each in found if isinstance(each, Finding)]
    assert sorted(kinds) == ["adversarial"] * 2 + ["clean", "noise"]


@pytest.mark.parametrize("name", ["mnist_dlvq", "mnist_softmax"])
def test_an_argument_changes_what_it_names(name):
    none, bn, noise = (
        load(FOLDER / f"{name}.py", a) for a in ("none", "bn", "bn_noise")
    )
    assert (none.encoder.norm, bn.encoder.norm) == ("none", "batch")
    assert (none.training.input_noise, noise.training.input_noise) == (0.0, 0.5)
    with pytest.raises(ValueError, match="none of none, bn, bn_noise"):
        load(FOLDER / f"{name}.py", "dropout")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*_mcel.py")), ids=str)
def test_every_objective_of_logits_is_an_argument(path):
    for name in OBJECTIVES:
        assert complete(load(path, name)).objective.name == name
    with pytest.raises(ValueError, match="'sng' is none of softmax, label_smoothing"):
        load(path, "sng")


@pytest.mark.parametrize("argument", ["0", "many"])
def test_a_number_of_prototypes_is_one(argument):
    with pytest.raises(ValueError, match=f"'{argument}' is no number of prototypes"):
        load(FOLDER / "mnist_gmlvq.py", argument)
