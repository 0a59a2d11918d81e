"""The only place where names in a config become functions.

A config is a tree of literals. A section with a `name` stands for a call of the
function of that name, and its other fields are the arguments: whatever it leaves out
takes the function's default, which `complete` writes down.

Sections: `data`, `encoder`, `head`, `objective`, `optimizer`, `learning_rate`,
`training` and `evaluation`; beside them the number `seed`.
"""

import functools
import inspect
import pathlib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jax.tree_util import Partial
from ml_collections import config_dict

from robustlabels import _validate, data, models, objective, training
from robustlabels.data import Dataset, Split
from robustlabels.evaluation import Record, budgets, measure, parse_epsilons
from robustlabels.evaluation.budgets import Attack
from robustlabels.losses import transfer
from robustlabels.models import encoders, heads, prototype_init
from robustlabels.objective import Family
from robustlabels.training import optimizers, schedules

__all__ = [
    "attacks",
    "check",
    "complete",
    "dataset",
    "evaluate",
    "family",
    "fields_of",
    "fit",
    "lookup",
    "network",
    "restore",
]

_NAMED = {
    "encoder": (encoders, {"image_shape", "rngs"}),
    "head": (heads, {"in_features", "num_classes", "rngs"}),
    "objective": (objective, {"prototype_labels"}),
    "optimizer": (optimizers, {"learning_rate"}),
    "learning_rate": (schedules, {"num_steps"}),
}
_FIT_GIVEN = {
    "model",
    "family",
    "dataset",
    "optimizer",
    "schedule",
    "seed",
    "workdir",
}
_EVALUATION = {
    "attacks": {},
    "batch_size": 1000,
    "epsilons": "",
    "num_examples": 0,
}
_SECTIONS = ("seed", "data", *_NAMED, "training", "evaluation")


def lookup(module: types.ModuleType, name: str) -> Callable[..., Any]:
    """The function of a name, if the module lists it in `__all__`.

    Args:
      module: where to look.
      name: what a config says.

    Raises:
      ValueError: listing the names there are.

    >>> lookup(optimizers, "adan")
    Traceback (most recent call last):
    ValueError: 'adan' is not in robustlabels.training.optimizers; choose one of adam, \
adamw, sgd.
    """
    if name not in module.__all__:
        choices = ", ".join(sorted(module.__all__))
        raise ValueError(
            f"{name!r} is not in {module.__name__}; choose one of {choices}."
        )
    return getattr(module, name)


def complete(config: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """A config with every default written down.

    Args:
      config: a tree of literals, as `get_config` of a config file returns it.

    Raises:
      ValueError: for a section that is missing or unknown, a name that does not exist,
        and a field that the named function does not take or lacks.

    Guarantees: completing twice changes nothing more; the argument is left as it is.
    """
    given = _plain(config)
    _known("config", given, _SECTIONS)
    missing = [name for name in _SECTIONS if name not in given and name != "seed"]
    if missing:
        raise ValueError(f"the config lacks the sections {', '.join(missing)}.")
    full = {"seed": given.get("seed", 0)}
    _validate.count(minimum=0, seed=full["seed"])
    full["data"] = _arguments("data", data.load, given["data"], set())
    for section, (module, from_us) in _NAMED.items():
        full[section] = _named(section, module, given[section], from_us)
    full["training"] = _arguments(
        "training", training.fit, given["training"], _FIT_GIVEN
    )
    _known("evaluation", given["evaluation"], _EVALUATION)
    full["evaluation"] = {**_EVALUATION, **given["evaluation"]}
    full["evaluation"]["attacks"] = {
        name: _named(f"evaluation.attacks.{name}", budgets, section, set())
        for name, section in full["evaluation"]["attacks"].items()
    }
    return ml_collections.ConfigDict(full)


def fields_of(path: Sequence[str], name: str) -> set[str]:
    """The fields that a section takes, but for its name, once it has that name.

    Args:
      path: of the section in the config.
      name: what it is to be called.

    Raises:
      ValueError: for an unknown name, or a section that has none.

    >>> sorted(fields_of(["learning_rate"], "cosine"))
    ['final', 'peak', 'warmup']
    """
    if tuple(path) == ("objective", "phi"):
        module, given = transfer, {"x"}
    elif len(path) == 3 and tuple(path[:2]) == ("evaluation", "attacks"):
        module, given = budgets, set()
    elif len(path) == 1 and path[0] in _NAMED:
        module, given = _NAMED[path[0]]
    else:
        raise ValueError(f"the section {'.'.join(path)!r} takes no name.")
    function = lookup(module, name)
    extra = {"init"} if function is heads.Prototypes else set()
    return set(inspect.signature(function).parameters) - given | extra


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(config, ml_collections.ConfigDict):
        return config.to_dict()
    return dict(config)


def _known(where: str, fields: Mapping[str, Any], names: Iterable[str]) -> None:
    unknown = [name for name in fields if name not in names]
    if unknown:
        raise ValueError(
            f"{where} has no {', '.join(map(repr, unknown))}; it takes "
            f"{', '.join(sorted(names))}."
        )


def _named(
    where: str, module: types.ModuleType, fields: Mapping[str, Any], given: set[str]
) -> dict[str, Any]:
    """A section with a name, completed with the defaults of the named function."""
    if "name" not in fields:
        choices = ", ".join(sorted(module.__all__))
        raise ValueError(f"{where} needs a name; choose one of {choices}.")
    fields = dict(fields)
    name = fields.pop("name")
    function = lookup(module, name)
    init = {}
    if function is heads.Prototypes:
        init = {"init": fields.pop("init", "class_means")}
    arguments = _arguments(f"{where} {name!r}", function, fields, given)
    return {"name": name, **arguments, **init}


def _arguments(
    where: str,
    function: Callable[..., Any],
    fields: Mapping[str, Any],
    given: set[str],
) -> dict[str, Any]:
    """Fields as keyword arguments of a function, its defaults filled in."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in given
    }
    open_ended = [name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD]
    for name in open_ended:
        del parameters[name]
    if not open_ended:
        _known(where, fields, parameters)
    full = dict(fields)
    for name, parameter in parameters.items():
        if name == "phi":
            section = full.get(name, {"name": "identity"})
            full[name] = _named(f"{where}.{name}", transfer, section, {"x"})
        elif name not in full:
            if parameter.default is parameter.empty:
                raise ValueError(f"{where} needs {name}.")
            full[name] = _literal(parameter.default, function, name)
        elif full[name] is None:
            full[name] = _literal(None, function, name)
    return full


def _literal(default: Any, function: Callable[..., Any], name: str) -> Any:
    """A default as a literal: types by their name, None as a hole of a type."""
    if isinstance(default, type):
        return np.dtype(default).name
    if default is None:
        target = function.__init__ if inspect.isclass(function) else function
        hint = typing.get_type_hints(target)[name]
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return config_dict.placeholder(kinds[0])
    return default


def _call(
    module: types.ModuleType,
    section: ml_collections.ConfigDict,
    *args: Any,
    **given: Any,
) -> Any:
    """Calls the function that a section names, with the section's other fields."""
    fields = {k: v for k, v in section.to_dict().items() if k not in ("name", "init")}
    return lookup(module, section.name)(*args, **{**fields, **given})


def dataset(config: ml_collections.ConfigDict) -> Dataset:
    """The data set of a complete config."""
    return data.load(**config.data.to_dict())


def check(config: ml_collections.ConfigDict) -> None:
    """Raises for a value out of range in a complete config, before any work is done.

    Raises:
      ValueError: naming the value, the range and the fix.
    """
    attacks(config)
    parse_epsilons(config.evaluation.epsilons)
    _validate.count(**{"evaluation.batch_size": config.evaluation.batch_size})
    _validate.count(
        minimum=0, **{"evaluation.num_examples": config.evaluation.num_examples}
    )
    _validate.one_of(("float32", "bfloat16"), dtype=config.encoder.dtype)
    if "init" in config.head:
        lookup(prototype_init, config.head.init)
    training.check_options(**config.training.to_dict())
    _optimizer(config)(_schedule(config)(100))
    family(config, num_classes=2)


def network(config: ml_collections.ConfigDict, dataset: Dataset) -> models.Network:
    """The untrained model of a complete config.

    Args:
      config: complete.
      dataset: gives image shape, classes and normalisation.

    Raises:
      ValueError: for arguments that the layers refuse.
    """
    rngs = nnx.Rngs(config.seed)
    encoder = _call(
        encoders,
        config.encoder,
        image_shape=dataset.train.images.shape[1:],
        rngs=rngs,
    )
    head = _call(
        heads,
        config.head,
        in_features=encoder.out_features,
        num_classes=dataset.num_classes,
        rngs=rngs,
    )
    mean, std = dataset.mean.tolist(), dataset.std.tolist()
    return models.Network(encoder, head, mean=mean, std=std)


def _initialise_prototypes(
    config: ml_collections.ConfigDict, model: models.Network, dataset: Dataset
) -> None:
    """Puts prototypes where the untrained encoder puts the training images."""
    initialise = lookup(prototype_init, config.head.init)
    embeddings = training.embeddings(
        model, dataset.train, batch_size=config.training.batch_size
    )
    model.head.prototypes[...] = jnp.asarray(
        initialise(
            embeddings,
            dataset.train.labels,
            num_classes=dataset.num_classes,
            per_class=model.head.per_class,
            seed=config.seed,
        )
    )


def family(config: ml_collections.ConfigDict, *, num_classes: int) -> Family:
    """The objective of a complete config.

    Args:
      config: complete.
      num_classes: of the data set.

    Raises:
      ValueError: if the objective does not go with the head.
    """
    name, head = config.objective.name, config.head
    wants = "prototype_labels" in inspect.signature(lookup(objective, name)).parameters
    if wants != (head.name == "Prototypes"):
        right = "Prototypes" if wants else "Softmax"
        raise ValueError(
            f"objective {name!r} needs the head {right!r}, not {head.name!r}: set "
            f"config.head.name={right}."
        )
    if not wants:
        return _call(objective, config.objective)
    phi = config.objective.phi.to_dict()
    transfer_function = Partial(lookup(transfer, phi.pop("name")), **phi)
    transfer_function(jnp.zeros(()))
    return _call(
        objective,
        config.objective,
        prototype_labels=np.repeat(np.arange(num_classes), head.per_class),
        phi=transfer_function,
    )


def _optimizer(config: ml_collections.ConfigDict) -> Callable[..., Any]:
    return functools.partial(_call, optimizers, config.optimizer)


def _schedule(config: ml_collections.ConfigDict) -> Callable[..., Any]:
    def schedule(num_steps: int) -> Any:
        return _call(schedules, config.learning_rate, num_steps=num_steps)

    return schedule


def fit(
    config: ml_collections.ConfigDict,
    dataset: Dataset,
    *,
    workdir: str | pathlib.Path | None = None,
) -> training.Fitted:
    """Trains what a complete config describes; see `training.fit`."""
    model = network(config, dataset)
    if "init" in config.head:
        _initialise_prototypes(config, model, dataset)
    return training.fit(
        model,
        family(config, num_classes=dataset.num_classes),
        dataset,
        optimizer=_optimizer(config),
        schedule=_schedule(config),
        seed=config.seed,
        workdir=workdir,
        **config.training.to_dict(),
    )


def restore(
    config: ml_collections.ConfigDict, dataset: Dataset, workdir: str | pathlib.Path
) -> training.Fitted:
    """The best model of a run, from its newest checkpoint.

    Args:
      config: complete, of the run.
      dataset: of the run.
      workdir: the run's folder.

    Raises:
      FileNotFoundError: if the run has no checkpoint.
    """
    made = family(config, num_classes=dataset.num_classes)
    return training.restore(network(config, dataset), made, workdir)


def attacks(
    config: ml_collections.ConfigDict,
) -> dict[str, tuple[Attack, dict[str, Any]]]:
    """The attacks of a complete config by name, each with its parameters."""
    return {
        name: (_call(budgets, section), section.to_dict())
        for name, section in config.evaluation.attacks.items()
    }


def evaluate(
    config: ml_collections.ConfigDict, dataset: Dataset, fitted: training.Fitted
) -> Iterator[Record]:
    """Measures a trained model on the test split as a complete config says."""
    section, test = config.evaluation, dataset.test
    if section.num_examples:
        test = Split(*(part[: section.num_examples] for part in test))
    names = ("data", "encoder", "head", "objective")
    identity = {
        **{name: config[name].name for name in names},
        "seed": config.seed,
        "epoch": fitted.standing.best_epoch,
        "validation_error": fitted.standing.validation_error,
    }
    return measure(
        fitted.classifier,
        test,
        attacks(config),
        epsilons=parse_epsilons(section.epsilons),
        identity=identity,
        batch_size=section.batch_size,
        seed=config.seed,
    )
