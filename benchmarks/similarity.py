"""Class similarity of CIFAR-10's training images against scikit-learn's discriminants.

Every contestant is a process of its own, given 50,000 images of 3,072 features. Seconds
are those from arrays to the similarity: compilation counts, imports do not, nor does
making floats of bytes, which ours needs not. Eq. 12 follows from scikit-learn's
discriminants by the same few lines for both solvers, with class means taken from the
overall mean. Nothing is shrunk: "svd" cannot, and "eigen" shrinks the scatter between
classes too, so that only without it all compute the same. Each of them runs once on
float32 and once on float64; the fastest of all is then timed against ours.

Memory is the most that is resident, less what is once the data are loaded. Streams are
read from a file; their ratios are of memory, not of seconds.

CIFAR-10 is found as by `robustlabels train`: in `--data_dir` or TFDS_DATA_DIR. Without
it, `--quick` runs everything on a little noise.
"""

import argparse
import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import workloads
from numpy.typing import DTypeLike
from timing import Row, add_output, compare, peak_megabytes, report, single

from robustlabels import data
from robustlabels.similarity import lda_similarity

CLASSES = 10
GOAL, GOAL_DIFFERENCE, GOAL_MEMORY = 1 / 3, 1e-3, 1.1
QUICK_IMAGES = 2000
FRACTIONS = 0.2, 0.5, 1.0

Prepared = Callable[[], np.ndarray]


def batches(folder: pathlib.Path, num_images: int) -> Iterator:
    """Images and labels from the files, mapped anew for each batch to be let go of."""
    labels = np.load(folder / "labels.npy")[:num_images]
    for i in range(0, num_images, 1000):
        own = slice(i, min(i + 1000, num_images))
        images = np.load(folder / "images.npy", mmap_mode="r")[own]
        yield np.array(images), labels[own]


def ours(folder: pathlib.Path, num_images: int) -> Prepared:
    """`lda_similarity` of an array of uint8."""
    images = np.load(folder / "images.npy")[:num_images]
    labels = np.load(folder / "labels.npy")[:num_images]
    return lambda: lda_similarity(images, labels, num_classes=CLASSES, shrinkage=0.0)


def streamed(folder: pathlib.Path, num_images: int) -> Prepared:
    """`lda_similarity` of batches from a file."""
    read = batches(folder, num_images)
    return lambda: lda_similarity(read, num_classes=CLASSES)


def scikit_learn(
    folder: pathlib.Path,
    num_images: int,
    *,
    solver: Literal["eigen", "svd"],
    dtype: DTypeLike,
) -> Prepared:
    """Eq. 12 of scikit-learn's discriminants."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    shape = np.load(folder / "images.npy", mmap_mode="r").shape
    x = np.empty((num_images, int(np.prod(shape[1:]))), dtype)
    labels = np.load(folder / "labels.npy")[:num_images]
    for i, (images, _) in enumerate(batches(folder, num_images)):
        x[1000 * i : 1000 * (i + 1)] = images.reshape(len(images), -1)
    x /= 255

    def similarity():
        lda = LinearDiscriminantAnalysis(solver=solver)
        lda.fit(x, labels)
        away = lda.means_ - lda.priors_ @ lda.means_
        means = np.float64(away @ lda.scalings_[:, : CLASSES - 1])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        closeness = 1 / (1 + np.exp(1 - means @ means.T))
        np.fill_diagonal(closeness, 0.0)
        return closeness / closeness.sum(axis=1, keepdims=True)

    return similarity


PEERS = {
    f"scikit-learn, {solver}, {dtype}": functools.partial(
        scikit_learn, solver=solver, dtype=dtype
    )
    for solver in ("eigen", "svd")
    for dtype in ("float32", "float64")
}
OURS, STREAMED = "ours", "streamed"
CONTESTANTS = {**PEERS, OURS: ours, STREAMED: streamed}


def perform(name: str, folder: pathlib.Path, num_images: int) -> None:
    """Runs a contestant in this process; saves its matrix and prints its figures."""
    similarity = CONTESTANTS[name](folder, num_images)
    before = peak_megabytes()
    start = time.perf_counter()
    matrix = similarity()
    figures = {
        "seconds": time.perf_counter() - start,
        "megabytes": peak_megabytes() - before,
    }
    np.save(folder / f"{name}.npy", matrix)
    print(json.dumps(figures))


def in_a_process(name: str, folder: pathlib.Path, num_images: int) -> dict[str, float]:
    """The figures of a contestant."""
    command = [sys.executable, __file__, "--contestant", name]
    command += ["--folder", str(folder), "--images", str(num_images)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare_peers(folder: pathlib.Path, num_images: int, rounds: int) -> list[Row]:
    """Ours against the fastest of scikit-learn's; the others beside them."""
    case = f"class similarity, {num_images:,} images"
    figures: dict[str, Any] = {}

    def contestant(name):
        def seconds():
            figures[name] = in_a_process(name, folder, num_images)
            return figures[name]["seconds"]

        return seconds

    for name in PEERS:
        print(f"{case}, {name} ...", flush=True)
        contestant(name)()
    fastest = min(PEERS, key=lambda name: figures[name]["seconds"])
    others = [
        single(case, name, once, once["seconds"] / figures[fastest]["seconds"])
        for name, once in figures.items()
        if name != fastest
    ]
    rows = compare(
        case,
        {name: contestant(name) for name in (fastest, OURS)},
        rounds=rounds,
        goals={OURS: GOAL},
    )
    for row in rows:
        row["megabytes"] = figures[row["contestant"]]["megabytes"]
    own = np.load(folder / f"{OURS}.npy")
    for row in rows + others:
        theirs = np.load(folder / f"{row['contestant']}.npy")
        row["difference"] = abs(theirs - own).max()
    same = rows[0]["difference"] <= GOAL_DIFFERENCE
    rows[1]["met"] = rows[1]["met"] and bool(same)
    return rows + others


def compare_memory(folder: pathlib.Path, num_images: int) -> list[Row]:
    """Ours on streams of several lengths."""
    case = "class similarity, memory of a stream"
    rows: list[Row] = []
    for count in (int(num_images * fraction) for fraction in FRACTIONS):
        print(f"{case}, {count:,} images ...", flush=True)
        figures = in_a_process(STREAMED, folder, count)
        ratio = figures["megabytes"] / rows[0]["megabytes"] if rows else None
        row = single(case, f"{count:,} images", figures, ratio)
        if ratio is not None:
            row |= {"goal": GOAL_MEMORY, "met": ratio <= GOAL_MEMORY}
        rows.append(row)
    return rows


def store(folder: pathlib.Path, args: argparse.Namespace) -> int:
    """Writes the images and labels, and says how many there are."""
    if args.quick:
        images, labels = workloads.split(QUICK_IMAGES)
    else:
        splits = data.load("cifar10", data_dir=args.data_dir)
        parts = (splits.train, splits.validation)
        images, labels = map(np.concatenate, zip(*parts, strict=True))
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return len(images)


def main():
    """Times similarities and weighs them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="of ours and the fastest")
    parser.add_argument("--data_dir", default="", help="where TFDS has CIFAR-10")
    parser.add_argument("--quick", action="store_true", help="on a little noise")
    add_output(parser)
    for inner in ("--contestant", "--folder", "--images"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        perform(args.contestant, pathlib.Path(args.folder), int(args.images))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        num_images = store(folder, args)
        rows = compare_peers(folder, num_images, args.rounds)
        rows += compare_memory(folder, num_images)
    report("similarity", rows, args)
    for row in rows:
        difference = (
            f", differs by {row['difference']:.1e}" if "difference" in row else ""
        )
        print(f"{row['contestant']}: {row['megabytes']:,.0f} MB{difference}")


if __name__ == "__main__":
    main()
