"""Run folders as a training and its attacks would leave them, with what is planted."""

import json

import numpy as np

from robustlabels import evaluation
from robustlabels.sections import complete

EPSILONS = ("0.1", "0.2")
SHOWN = {"clean": np.zeros((1, 3, 3, 1))}


def config(name="softmax", seeds=2):
    return complete(
        {
            "num_seeds": seeds,
            "data": {"name": "digits"},
            "encoder": {"name": "MLP", "widths": (8,)},
            "head": {"name": "Softmax"},
            "objective": {"name": name},
            "optimizer": {"name": "adam"},
            "learning_rate": {"name": "constant", "peak": 1e-3},
            "training": {"num_epochs": 3},
            "evaluation": {
                "epsilons": ",".join(EPSILONS),
                "attacks": {"pgd": {"name": "pgd"}, "nearest": {"name": "ddn"}},
            },
        }
    )


def finding(folder, kind, seed, values, arrays, **parameters):
    made = evaluation.Finding(
        kind=kind,
        classifier={"seed": seed},
        split="test",
        parameters=parameters,
        n=1,
        values=values,
        images=None,
        seconds=0.0,
        provenance={},
    )
    evaluation.write_finding(folder, made, arrays)


def run(
    folder,
    *,
    right,
    own=None,
    margin=None,
    distances=(),
    signs=(),
    speed=100.0,
    parameters=10,
):
    """Writes a run; arrays are [seeds, n], own and margin where an example falls.

    Distances are of searches in L2, as many as there are, 0 where none was found.
    """
    right = np.asarray(right)
    seeds, n = right.shape
    folder.mkdir(parents=True)
    stored = {"config": config(seeds=seeds).to_dict(), "parameters": parameters}
    (folder / "config.json").write_text(json.dumps(stored))
    (folder / "finished.json").write_text("{}")
    lines = [
        json.dumps({"seed": s, "epoch": e, "examples_per_second": speed})
        for s in range(seeds)
        for e in (1, 2, 3)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    for seed in range(seeds):
        arrays = {
            "right": right[seed],
            "confidence": np.linspace(0.5, 1.0, n, dtype=np.float32),
            "negative_log_likelihood": np.where(right[seed], 0.1, 2.0),
        }
        finding(folder, "clean", seed, {}, arrays)
        for loss, fallen in (("own", own), ("margin", margin)):
            if fallen is not None:
                arrays = {"fallen": np.asarray(fallen)[seed].astype(np.int32)}
                where = {"attack": "pgd", "loss": loss}
                finding(folder, "adversarial", seed, {}, arrays, **where)
        for loss, found in zip(("own", "margin"), distances, strict=False):
            where = {"attack": "nearest", "loss": loss}
            l2 = np.asarray(found)[seed]
            arrays = {"distances": np.stack([l2 * 0, l2, l2, l2], axis=1)}
            finding(folder, "minimum_distortion", seed, {}, arrays, **where)
            finding(folder, "adversarial", seed, {}, SHOWN, **where)
        said = [{"name": name, "yes": True} for name in signs]
        finding(folder, "hidden_gradient", seed, {"signs": said}, None)
    return folder
