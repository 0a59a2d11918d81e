"""Whether adversarial images made for some runs fool others: a matrix of errors.

After Szegedy et al. (2014), tables 2 to 4: images are made for each model and fed to
all, as they were found and with their change amplified to a given size, beside Gaussian
noise of that size. What was made is kept, and a stopped command goes on.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from robustlabels import _validate, build, evaluation, parallel, report
from robustlabels._files import whole
from robustlabels._stopping import Stop, never
from robustlabels.config_file import load_run_config
from robustlabels.data import Split, as_float
from robustlabels.evaluation import ledger
from robustlabels.evaluation.ascended import (
    LOSSES,
    loss_of,
    num_classes,
    random_others,
)
from robustlabels.objective import Classifier
from robustlabels.sections import complete

__all__ = ["run"]


def run(
    folders: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    attack: Mapping[str, Any],
    loss: str = "own",
    epsilon: float = 0.1,
    rms: Sequence[float] = (),
    num_examples: int = 1000,
    stop: Stop = never,
) -> evaluation.Transfer:
    """Makes images for each run, feeds them to all, and writes what comes of it.

    Args:
      folders: of finished runs on the same data, at least one; each seed is a model.
      out: folder for transfer.json, report.html and an npz of images for each model,
        which `--config.data.name=npz:FILE` reads as well.
      attack: a section of `config.evaluation.attacks`.
      loss: a name of `LOSSES`, for attacks that follow one.
      epsilon: how far an attack within a ball may go.
      rms: root mean squares of the change, in pixels, to amplify it to.
      num_examples: the first test images; 0 is all.
      stop: asked between batches whether to stop.

    Raises:
      ValueError: for runs whose test images differ, or a value out of range.
      FileNotFoundError: if a folder holds no run, or one without a checkpoint.
      Stopped: if asked to stop; what was made is kept.
      OSError: if the folder cannot be written.
    """
    _validate.one_of(LOSSES, loss=loss)
    _validate.count(minimum=0, num_examples=num_examples)
    fix = "It is a change of pixels, which live in [0, 1]."
    _validate.in_range(0.0, 1.0, rms=np.asarray(rms, np.float64), fix=fix)
    out = pathlib.Path(out)
    classifiers, split, made, section = _models(folders, attack, epsilon)
    if num_examples:
        split = split.take(np.arange(min(num_examples, len(split.labels))))
    images = {
        name: _crafted(out, name, each, split, made, section, loss, epsilon, stop)
        for name, each in classifiers.items()
    }
    found = evaluation.transfer_matrix(
        classifiers, split, images, rms=rms, mesh=parallel.make_mesh()
    )
    written = {
        "attack": section,
        "loss": loss if made.follows_loss else "none",
        "epsilon": None if made.minimum else epsilon,
        "folders": [str(folder) for folder in folders],
        **dataclasses.asdict(found),
        "provenance": evaluation.provenance(),
    }
    with whole(out / "transfer.json") as file:
        file.write((json.dumps(written, indent=2) + "\n").encode())
    report.write_transfer(out)
    return found


def _models(
    folders: Sequence[str | os.PathLike], attack: Mapping[str, Any], epsilon: float
) -> tuple[dict[str, Classifier], Split, evaluation.Attack, dict[str, Any]]:
    """The models by name, the test split that they share, and the attack."""
    if not folders:
        raise ValueError("transfer needs runs: --workdirs runs/a runs/b.")
    classifiers: dict[str, Classifier] = {}
    test: Split | None = None
    made, section = None, {}
    for folder in map(pathlib.Path, folders):
        config = load_run_config(folder)
        dataset = build.dataset(config)
        if test is None:
            test = dataset.test
            made, section = _attack(config, attack, epsilon)
            made = made.in_pixels(dataset.std)
        elif not _same(test, dataset.test):
            raise ValueError(
                f"{folder} has other test images than {folders[0]}: transfer compares "
                "runs on the same data, with the same data.seed."
            )
        fitted = build.restore(config, dataset, folder)
        several = len(fitted.classifiers) > 1
        for seed, classifier in enumerate(fitted.classifiers, config.seed):
            name = f"{folder.name}-seed{seed}" if several else folder.name
            if name in classifiers:
                raise ValueError(f"two runs are called {name}: rename a folder.")
            classifiers[name] = classifier
    assert test is not None
    assert made is not None
    return classifiers, test, made, section


def _attack(
    config: ml_collections.ConfigDict, attack: Mapping[str, Any], epsilon: float
) -> tuple[evaluation.Attack, dict[str, Any]]:
    """The attack of a section, checked and completed in the config of a run."""
    config = config.copy_and_resolve_references()
    config.evaluation.attacks = ml_collections.ConfigDict({"transfer": dict(attack)})
    made, section = build.attacks(complete(config))["transfer"]
    if isinstance(made, evaluation.Ensemble):
        raise ValueError(
            f"transfer takes one attack, and {section['name']} is several: choose one."
        )
    evaluation.check_epsilons({section["name"]: (made, section)}, {"": epsilon})
    return made, section


def _same(one: Split, other: Split) -> bool:
    if one.images.shape != other.images.shape:
        return False
    return ledger.digest(one) == ledger.digest(other)


def _crafted(
    out: pathlib.Path,
    name: str,
    classifier: Classifier,
    split: Split,
    attack: evaluation.Attack,
    section: Mapping[str, Any],
    loss: str,
    epsilon: float,
    stop: Stop,
) -> np.ndarray:
    """The images made for a model, from its file if they are there."""
    file = out / f"{name}.npz"
    digest = ledger.digest(dict(section), loss, epsilon, split, classifier)
    stored = ledger.load(file, digest)
    if stored is not None:
        return stored["images"]
    towards = None
    if attack.targeted:
        towards = random_others(split.labels, num_classes(classifier, split))
    found = evaluation.craft(
        attack,
        loss_of(loss, is_targeted=attack.targeted),
        classifier,
        split,
        epsilon=epsilon,
        key=jax.random.key(0),
        towards=towards,
        mesh=parallel.make_mesh(),
        stop=stop,
    )
    arrays = {
        "images": found,
        "labels": split.labels,
        "clean": np.asarray(as_float(split.images[:])),
    }
    ledger.save(file, digest, arrays)
    return found
