"""Everything that is measured of trained classifiers, in one go."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from robustlabels import parallel
from robustlabels._stopping import Stop, never
from robustlabels.data import Split
from robustlabels.evaluation import confidence
from robustlabels.evaluation.budgets import Attack, Ensemble
from robustlabels.evaluation.checks import input_warnings
from robustlabels.evaluation.corrupted import corrupted
from robustlabels.evaluation.diagnostics import make_diagnosis
from robustlabels.evaluation.keeper import Keeper
from robustlabels.evaluation.left_out import left_out
from robustlabels.evaluation.measure import measure
from robustlabels.evaluation.records import Finding, Record
from robustlabels.objective import Classifier

__all__ = ["examine"]


def examine(
    classifiers: Sequence[tuple[Mapping[str, Any], Classifier]],
    split: Split,
    attacks: Mapping[str, tuple[Attack | Ensemble, Mapping[str, Any]]],
    *,
    epsilons: Mapping[str, float],
    losses: Sequence[str] = ("own", "margin"),
    class_names: Sequence[str],
    num_examples: int = 0,
    batch_size: int = 1000,
    noise_images: int = 10_000,
    fooling_images: int = 100,
    diagnosed_examples: int = 200,
    corrupted_examples: int = 0,
    unknown: Split | None = None,
    mesh: Mesh | None = None,
    folder: str | os.PathLike | None = None,
    split_name: str = "test",
    stop: Stop = never,
) -> Iterator[Record | Finding]:
    """Yields all that is found: accuracy, calibration, attacks, confidence, signs.

    In this order: calibration on the split; what `measure` yields; confidence on noise,
    on unknown classes and on fooling images; corruptions; the signs of a hidden
    gradient, at the epsilon at which about half of what is right falls.

    Args:
      classifiers: what the records say of each, its "seed" among it, and a classifier.
      split: images and class ids.
      attacks: as of `measure`.
      epsilons: as of `measure`.
      losses: as of `measure`.
      class_names: a name for each class id.
      num_examples: how many of the first examples are attacked; 0 is all. Calibration
        and confidence are of all of them.
      batch_size: examples a call.
      noise_images: how many images of U(-10, 10); 0 is none.
      fooling_images: how many images are made to fool; 0 is none.
      diagnosed_examples: how many examples the signs are looked for on; 0 is none, as
        without attacks that follow a loss.
      corrupted_examples: how many of the first examples are corrupted, in each of the
        75 ways; 0 is none.
      unknown: images of classes that were left out of training; None if there are none.
      mesh: the devices that share a batch; by default all there are.
      folder: of the run. What is found is written there before it is yielded, and what
        is there already is read and not computed again.
      split_name: what the records say of the split.
      stop: asked now and then whether to stop.

    Raises:
      ValueError: for what `measure` and `checks.input_warnings` refuse.
      Stopped: if asked to stop; with a folder the next call goes on from there.
      OSError: if the folder cannot be written; what was there before stays.
    """
    mesh = parallel.make_mesh() if mesh is None else mesh
    common = {
        "split_name": split_name,
        "mesh": mesh,
        "batch_size": batch_size,
        "stop": stop,
    }
    keep = Keeper(folder, split_name)
    for warning in input_warnings(classifiers[0][1], split, epsilons):
        print(f"Beware: {warning}", file=sys.stderr)
    for identity, classifier in classifiers:
        yield keep.once(
            "clean",
            identity,
            len(split.labels),
            lambda c=classifier, i=identity: confidence.clean(
                c, split, class_names=class_names, identity=i, **common
            ),
        )
    records = []
    attacked = split.take(np.arange(len(split.labels))[: num_examples or None])
    measured = measure(
        classifiers,
        attacked,
        attacks,
        epsilons=epsilons,
        losses=losses,
        folder=folder,
        **common,
    )
    for each in measured:
        if isinstance(each, Record):
            records.append(each)
        yield each
    shape = split.images.shape[1:]
    diagnosis, epsilon = None, _telling_epsilon(records, attacks, epsilons)
    if diagnosed_examples and epsilon is not None:
        diagnosis = make_diagnosis(
            mesh=mesh, batch_size=batch_size, num_examples=diagnosed_examples
        )
    for identity, classifier in classifiers:
        key = jax.random.key(identity["seed"])
        given = {"identity": identity, "key": key, **common}
        if noise_images:
            yield keep.once(
                "noise",
                identity,
                noise_images,
                lambda c=classifier, g=given: confidence.noise(
                    c, shape, num_images=noise_images, **g
                ),
            )
        if unknown is not None:
            yield keep.once(
                "left_out",
                identity,
                len(split.labels) + len(unknown.labels),
                lambda c=classifier, i=identity, u=unknown: left_out(
                    c, split, u, identity=i, **common
                ),
            )
        if fooling_images:
            yield keep.once(
                "fooling",
                identity,
                fooling_images,
                lambda c=classifier, g=given: confidence.fooling(
                    c, shape, num_images=fooling_images, **g
                ),
            )
        if corrupted_examples:
            some = split.take(np.arange(min(corrupted_examples, len(split.labels))))
            yield keep.once(
                "corruptions",
                identity,
                len(some.labels),
                lambda c=classifier, g=given, some=some: corrupted(c, some, **g),
            )
        if diagnosis is not None and epsilon is not None:
            yield keep.once(
                "hidden_gradient",
                identity,
                min(diagnosed_examples, len(attacked.labels)),
                lambda c=classifier, i=identity, k=key: diagnosis(
                    c,
                    attacked,
                    epsilon,
                    key=k,
                    identity=i,
                    split_name=split_name,
                    stop=stop,
                ),
                epsilon=epsilon,
            )


def _telling_epsilon(
    records: Sequence[Record],
    attacks: Mapping[str, tuple[Attack | Ensemble, Mapping[str, Any]]],
    epsilons: Mapping[str, float],
) -> str | None:
    """The epsilon at which the worst attack fells nearest to half; None without one.

    Beyond an epsilon of 0.5 every image can become the same grey one.
    """
    values: dict[str, list[float]] = {}
    for record in records:
        if record.loss != "worst" or not attacks[record.attack][0].unit_range:
            continue
        if 0 < epsilons[record.epsilon] < 0.5:
            values.setdefault(record.epsilon, []).append(record.value)
    clean = [record.value for record in records if record.attack == "none"]
    if not values:
        return None
    half = sum(clean) / len(clean) / 2
    return min(values, key=lambda epsilon: abs(min(values[epsilon]) - half))
