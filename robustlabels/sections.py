"""What a config may say, and which function each of its names stands for.

A config is a tree of literals. A section with a `name` stands for a call of the
function of that name, and its other fields are the arguments: whatever it leaves out
takes the function's default, which `complete` writes down.

Sections: `data`, `encoder`, `head`, `objective`, `optimizer`, `learning_rate`,
`training` and `evaluation`; beside them the numbers `seed` and `num_seeds`.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np
from ml_collections import config_dict

from robustlabels import _validate, data, labels, objective, training
from robustlabels.evaluation import budgets
from robustlabels.losses import transfer
from robustlabels.matrices import noise_matrices, similarities
from robustlabels.models import encoders, heads
from robustlabels.training import optimizers, schedules

__all__ = ["call", "complete", "fields_of", "lookup", "parameters_of"]

_NAMED = {
    "encoder": (encoders, {"image_shape", "rngs"}),
    "head": (heads, {"in_features", "num_classes", "rngs"}),
    "objective": (objective, {"prototype_labels", "num_classes", "class_counts"}),
    "optimizer": (optimizers, {"learning_rate"}),
    "learning_rate": (schedules, {"num_steps"}),
}
# Arguments that are sections themselves, and the name that each has unless it says so.
_NESTED = {
    "phi": (transfer, {"x"}, "identity"),
    "codebook": (labels, {"class_names", "num_classes"}, "uniform"),
    "similarity": (similarities, {"dataset", "restore"}, "lda"),
    "noise_matrix": (noise_matrices, {"dataset", "restore"}, "known"),
}
_FIT_GIVEN = {
    "model",
    "family",
    "dataset",
    "optimizer",
    "schedule",
    "seed",
    "workdir",
    "mesh",
    "stop",
}
_EVALUATION = {
    "attacks": {},
    "batch_size": 1000,
    "epsilons": "",
    "losses": ("own", "margin"),
    "split": "test",
    "num_examples": 0,
    "noise_images": 10_000,
    "fooling_images": 100,
    "diagnosed_examples": 200,
    "corrupted_examples": 0,
    "shown_examples": 0,
}
_NUMBERS = {"seed": 0, "num_seeds": 1}
_SECTIONS = (*_NUMBERS, "data", *_NAMED, "training", "evaluation")


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


def complete(
    config: Mapping[str, Any] | ml_collections.ConfigDict,
) -> ml_collections.ConfigDict:
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
    missing = [n for n in _SECTIONS if n not in given and n not in _NUMBERS]
    if missing:
        raise ValueError(f"the config lacks the sections {', '.join(missing)}.")
    for name, section in given.items():
        if name not in _NUMBERS and not isinstance(section, Mapping):
            raise ValueError(f"the section {name} is {section!r}; it needs fields.")
    full: dict[str, Any] = {n: given.get(n, value) for n, value in _NUMBERS.items()}
    _validate.count(minimum=0, seed=full["seed"])
    _validate.count(num_seeds=full["num_seeds"])
    full["data"] = _arguments("data", data.load, given["data"], set())
    for section, (module, from_us) in _NAMED.items():
        full[section] = _named(section, module, given[section], from_us)
    full["training"] = _arguments(
        "training", training.fit, given["training"], _FIT_GIVEN
    )
    _known("evaluation", given["evaluation"], _EVALUATION)
    attacks = {
        name: _named(f"evaluation.attacks.{name}", budgets, section, set())
        for name, section in given["evaluation"].get("attacks", {}).items()
    }
    full["evaluation"] = {**_EVALUATION, **given["evaluation"], "attacks": attacks}
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
    if len(path) == 2 and path[0] == "objective" and path[1] in _NESTED:
        module, given, _ = _NESTED[path[1]]
    elif len(path) == 3 and tuple(path[:2]) == ("evaluation", "attacks"):
        module, given = budgets, set()
    elif len(path) == 1 and path[0] in _NAMED:
        module, given = _NAMED[path[0]]
    else:
        raise ValueError(f"the section {'.'.join(path)!r} takes no name.")
    function = lookup(module, name)
    extra = {"init"} if function is heads.Prototypes else set()
    return set(parameters_of(function)) - given | extra


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What a function or the constructor of a class takes."""
    if inspect.isclass(function):
        function = functools.partial(function.__init__, None)
    return dict(inspect.signature(function).parameters)


def _plain(config: Mapping[str, Any] | ml_collections.ConfigDict) -> dict[str, Any]:
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
    parameters = {k: v for k, v in parameters_of(function).items() if k not in given}
    open_ended = [name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD]
    for name in open_ended:
        del parameters[name]
    if not open_ended:
        _known(where, fields, parameters)
    full = dict(fields)
    for name, parameter in parameters.items():
        if name in _NESTED:
            module, from_us, usual = _NESTED[name]
            section = full.get(name, {"name": usual})
            full[name] = _named(f"{where}.{name}", module, section, from_us)
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


def call(
    module: types.ModuleType,
    section: ml_collections.ConfigDict,
    *args: Any,
    **given: Any,
) -> Any:
    """Calls the function that a section names, with the section's other fields."""
    fields = {k: v for k, v in section.to_dict().items() if k not in ("name", "init")}
    return lookup(module, section.name)(*args, **{**fields, **given})
