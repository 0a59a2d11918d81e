"""Does LDA find what people call similar? The superclasses of CIFAR-100 say.

The 100 classes of CIFAR-100 form 20 superclasses of five. For similarities by linear
discriminants, of pixels and of a trained net's features and by the number of
directions, this writes to `mcel_cifar100.json` how much of a class's similarity falls
on the four others of its superclass. The uniform similarity gives 4/99 of it. The set
is `cifar100_fifth`, a fifth of the training images and the whole test set, unless
another is named.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import study
import tensorflow_datasets as tfds

from robustlabels import build, evaluation, run
from robustlabels._stopping import Signals, Stopped
from robustlabels.config_file import load_config, override
from robustlabels.matrices import similarities
from robustlabels.similarity import asymmetry

DIRECTIONS = (1, 2, 5, 10, 20, 50, 99)
PROTOCOL = (
    "The similarity of eq. 12 with shrinkage 1e-3, centred, of the training split; the "
    "share of each class's similarity on the four other classes of its superclass, in "
    "percent, mean over 100 classes with the standard deviation over classes; 4/99 is "
    "4.04 %. The net is a CNN of 32, 64 and 128 channels and 256 features with batch "
    "norm, trained by cross-entropy: Adam at 1e-3 under a cosine, 20 epochs of batches "
    "of 100, the best on validation. Its features are of the images it was trained on. "
    "Confusion is of its decisions on the validation split."
)


def superclasses(name: str, data_dir: str) -> np.ndarray:
    """The superclass of each class, as the test images of the set say."""
    records: Any = tfds.data_source(
        name, split="test", data_dir=data_dir or None, download=False
    )
    found: dict[int, int] = {}
    for start in range(0, len(records), 1000):
        stop = min(start + 1000, len(records))
        for record in records.__getitems__(list(range(start, stop))):
            found[record["label"]] = record["coarse_label"]
    return np.array([found[label] for label in sorted(found)])


def on_own_superclass(similarity: np.ndarray, coarse: np.ndarray) -> dict[str, float]:
    """The share on the own superclass in percent, over classes; and the asymmetry."""
    same = coarse[:, None] == coarse[None, :]
    shares = 100 * np.sum(similarity * same, axis=1)
    return {
        "mean": float(shares.mean()),
        "std_over_classes": float(shares.std()),
        "classes_above_chance": int(np.sum(shares > 400 / (len(coarse) - 1))),
        "asymmetry": asymmetry(similarity),
    }


def rows(
    dataset: Any, restore: Callable, folder: pathlib.Path, coarse: np.ndarray
) -> list[study.Row]:
    """A row for each similarity."""
    made: list[study.Row] = []
    for features, base in (("pixels", ""), ("trained net", str(folder))):
        for directions in DIRECTIONS:
            matrix = similarities.lda(
                dataset, restore, num_directions=directions, run=base
            )
            shares = on_own_superclass(matrix, coarse)
            made.append({"features": features, "directions": directions, **shares})
    confusion = similarities.confusion(dataset, restore, run=str(folder))
    shares = on_own_superclass(confusion, coarse)
    made.append({"features": "confusion", "directions": None, **shares})
    return made


def main():
    """Trains the net unless it is there, and writes the shares."""
    parser = study.parser(__doc__, "mcel_cifar100")
    parser.add_argument("--name", default="cifar100_fifth", help="the TFDS set")
    parser.add_argument("--data_dir", default="", help="where TFDS prepared it")
    args = parser.parse_args()
    config = load_config(str(study.ROOT / "configs" / "cifar100_mcel.py:softmax"))
    config.evaluation = {"noise_images": 0, "fooling_images": 0}
    config.encoder = {"name": "CNN", "widths": (32, 64, 128), "features": 256}
    config.encoder.norm = "batch"
    config.optimizer = {"name": "adam"}
    config.learning_rate = {"name": "cosine", "peak": 1e-3}
    config.training = {"num_epochs": 20, "batch_size": 100}
    flags = {"data.name": args.name, "data.data_dir": args.data_dir}
    config = override(config, [f"--config.{k}={v}" for k, v in flags.items()])
    folder = args.workdir / "net"
    with Signals() as stop:
        try:
            run.train(config, folder, stop=stop)
        except Stopped as stopped:
            raise SystemExit(f"{stopped}: the same command goes on.") from None
    (clean,) = [r for r in evaluation.read_records(folder) if r.attack == "none"]
    dataset = build.dataset(config)
    coarse = superclasses(args.name, args.data_dir)
    found = rows(dataset, lambda run: build.trained(run, config), folder, coarse)
    result = {
        "protocol": PROTOCOL,
        "data": args.name,
        "test_error": [100 * share for share in clean.error],
        "provenance": evaluation.provenance(),
        "rows": found,
    }
    study.write(args.output, result)
    head = ["features", "directions", "on own superclass, %", "classes above chance"]
    print(
        study.table(
            head,
            (
                [
                    r["features"],
                    str(r["directions"] or ""),
                    f"{r['mean']:.2f} ± {r['std_over_classes']:.2f}",
                    str(r["classes_above_chance"]),
                ]
                for r in found
            ),
        )
    )


if __name__ == "__main__":
    main()
