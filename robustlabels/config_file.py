"""Config files and what the command line changes in them."""

import ast
import difflib
import importlib.util
import inspect
import json
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from robustlabels.sections import complete, fields_of

__all__ = [
    "load_config",
    "load_run_config",
    "override",
    "split_fields",
    "split_flag",
    "split_flags",
    "split_values",
]

_OVERRIDE = re.compile(r"--?(no)?config\.([\w.]+)(=.*)?$", re.DOTALL)


def split_flag(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """The value of a flag, the last one given, and the arguments without it.

    Arguments and errors as in `split_flags`.

    >>> split_flag(["--workdir=runs/a", "--config.seed=1"], "workdir")
    ('runs/a', ['--config.seed=1'])
    """
    values, rest = split_flags(arguments, name)
    return (values[-1] if values else None), rest


def split_flags(arguments: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """All values of a flag, and the arguments without it.

    Args:
      arguments: of the command line.
      name: of the flag; `--name=value` and `--name value` are both understood.

    Raises:
      ValueError: for a flag without a value.

    >>> split_flags(["--vary=a=1,2", "--workdir=x", "--vary", "b=3"], "vary")
    (['a=1,2', 'b=3'], ['--workdir=x'])
    """
    values, rest, left = [], [], iter(arguments)
    for argument in left:
        if re.fullmatch(rf"--?{name}", argument):
            value = next(left, None)
            if value is None:
                raise ValueError(f"--{name} needs a value: --{name}=...")
            values.append(value)
        elif match := re.match(rf"--?{name}=(.*)$", argument, re.DOTALL):
            values.append(match.group(1))
        else:
            rest.append(argument)
    return values, rest


def split_values(arguments: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """The values after a flag, up to the next one, and the arguments without them.

    >>> split_values(["--workdirs", "runs/a", "runs/b", "--out=x"], "workdirs")
    (['runs/a', 'runs/b'], ['--out=x'])
    >>> split_values(["--out=x", "--workdirs=runs/a", "runs/b"], "workdirs")
    (['runs/a', 'runs/b'], ['--out=x'])
    """
    values, rest, follows = [], [], False
    for argument in arguments:
        if match := re.fullmatch(rf"--?{name}(?:=(.*))?", argument, re.DOTALL):
            follows = True
            values += [match.group(1)] if match.group(1) else []
        elif follows and not argument.startswith("-"):
            values.append(argument)
        else:
            follows = False
            rest.append(argument)
    return values, rest


def split_fields(
    arguments: Sequence[str], name: str
) -> tuple[dict[str, Any], list[str]]:
    """Fields of a section, `--name.field=value` each, and the arguments without them.

    Values are Python literals, and text where they are none.

    >>> split_fields(["--attack.num_steps=20", "--attack.norm=l2", "-x"], "attack")
    ({'num_steps': 20, 'norm': 'l2'}, ['-x'])
    """
    fields, rest = {}, []
    for argument in arguments:
        match = re.fullmatch(rf"--?{name}\.(\w+)=(.*)", argument, re.DOTALL)
        if match is None:
            rest.append(argument)
            continue
        try:
            fields[match.group(1)] = ast.literal_eval(match.group(2))
        except (ValueError, SyntaxError):
            fields[match.group(1)] = match.group(2)
    return fields, rest


def load_config(written: str) -> ml_collections.ConfigDict:
    """Runs `get_config` of a config file.

    Args:
      written: FILE or FILE:ARGUMENT.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it defines no `get_config`, or that refuses the argument.
    """
    path, _, argument = written.partition(":")
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(
            f"--config={path}: there is no such file. Give a Python file that defines "
            "get_config, such as configs/digits_dlvq.py."
        )
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"--config={path}: write it as a Python file, NAME.py.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"--config={path} defines no function get_config.")
    if not argument:
        return module.get_config()
    if not inspect.signature(module.get_config).parameters:
        raise ValueError(
            f"--config={written}: get_config of {path} takes no argument; leave out "
            f":{argument}."
        )
    return module.get_config(argument)


def load_run_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """The complete config that a run wrote into its folder.

    Args:
      workdir: the run's folder.

    Raises:
      FileNotFoundError: if the folder holds no run.
      ValueError: if its config cannot be read.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"--workdir={workdir} holds no run: there is no config.json in it."
        )
    try:
        stored = json.loads(path.read_text())["config"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    return complete(_tuples(stored))


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, as configs write them."""
    if isinstance(value, dict):
        return {key: _tuples(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return value


def override(
    config: ml_collections.ConfigDict, arguments: Sequence[str]
) -> ml_collections.ConfigDict:
    """A complete config with the changes of the command line.

    A changed `name` comes first: the section then keeps of its fields those that the
    new function takes, and gets the defaults of the others.

    Args:
      config: as a config file gives it, or complete.
      arguments: `--config.a.b=value` each.

    Raises:
      ValueError: for a field that does not exist, or a value of another type.

    >>> short = dict(
    ...     data=dict(name="digits"), encoder=dict(name="MLP"), training={},
    ...     head=dict(name="Softmax"), objective=dict(name="softmax"), evaluation={},
    ...     optimizer=dict(name="adam"), learning_rate=dict(name="constant", peak=0.1),
    ... )
    >>> changed = override(
    ...     ml_collections.ConfigDict(short),
    ...     ["--config.optimizer.name=sgd", "--config.optimizer.momentum=0.5"],
    ... )
    >>> print(changed.optimizer.name, changed.optimizer.momentum)
    sgd 0.5
    """
    config = _renamed(config, arguments)
    full = complete(config)
    for argument in arguments:
        match = _OVERRIDE.match(argument)
        if match is None:
            raise ValueError(
                f"{argument!r} is not understood: write --config.SECTION.FIELD=VALUE."
            )
        _check_path(full, match.group(2))
    values = flags.FlagValues()
    argv = ["robustlabels", *arguments]
    try:
        config_flags.DEFINE_config_dict(
            "config", full, flag_values=values, sys_argv=argv
        )
        values(argv)
    except flags.Error as error:
        raise ValueError(str(error)) from error
    return complete(values.config)


def _renamed(
    config: ml_collections.ConfigDict, arguments: Iterable[str]
) -> ml_collections.ConfigDict:
    """The config with new names, without the fields that belong to the old ones."""
    fields = config.to_dict()
    for argument in arguments:
        match = _OVERRIDE.match(argument)
        if match is None or match.group(3) is None:
            continue
        path, name = match.group(2).split("."), match.group(3)[1:]
        if len(path) < 2 or path[-1] != "name" or path[0] == "data":
            continue
        section = fields
        for key in path[:-1]:
            section = section.setdefault(key, {})
        if section.get("name") == name:
            continue
        taken = fields_of(path[:-1], name)
        kept = {key: value for key, value in section.items() if key in taken}
        section.clear()
        section.update(kept, name=name)
    return ml_collections.ConfigDict(fields)


def _check_path(config: ml_collections.ConfigDict, path: str) -> None:
    """Raises for a field that a complete config does not have."""
    section = config
    parts = path.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(section, ml_collections.ConfigDict) or part not in section:
            where = ".".join(["config", *parts[:depth]])
            there = (
                list(section) if isinstance(section, ml_collections.ConfigDict) else []
            )
            close = difflib.get_close_matches(part, there, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            listed = f"it has {', '.join(there)}" if there else "it is a value"
            raise ValueError(f"{where} has no {part!r}; {listed}.{hint}")
        section = section[part]
