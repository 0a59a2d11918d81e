"""Minimum distortion of all images at once, and by SciPy's L-BFGS-B one by one.

The net is 100-100-10 of Szegedy et al. (2014) on MNIST, trained as in
`papers/intriguing.py`; images are led to a class drawn at random. SciPy has one jitted
value and gradient an evaluation, starts each search where the last one ended, and of
all images on the way the nearest adversarial one counts. Distances in the rows are root
mean squares over the pixels. Needs MNIST, see `robustlabels data prepare`.
"""

import argparse
import pathlib
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from timing import add_output, compare, report, stopwatch

sys.path.append(str(pathlib.Path(__file__).parent / "papers"))
import intriguing

from robustlabels import attacks, data
from robustlabels.evaluation.ascended import random_others

NET = "100-100-10"


def one_by_one(classifier, x, targets, *, searches):
    """A function that returns the distance of each image by SciPy's L-BFGS-B."""

    @jax.jit
    def evaluate(z, x, target, c):
        def whole(z):
            away = z - x
            loss = classifier.loss(z[None], target[None])[0] + c * jnp.sum(away**2)
            return loss, jnp.argmax(classifier.scores(z[None])[0]) == target

        (value, reached), slope = jax.value_and_grad(whole, has_aux=True)(z)
        return value, slope, reached

    def nearest(x, target):
        found, low, high, shape = np.inf, 0.0, np.inf, x.shape
        value, slope, _ = evaluate(x, x, target, 0.0)
        c = float(jnp.vdot(slope, slope) / (4 * value))
        z = np.float64(x).reshape(-1)

        def whole(z):
            nonlocal found
            image = z.astype(np.float32).reshape(shape)
            value, slope, reached = evaluate(image, x, target, c)
            if reached:
                found = min(found, np.linalg.norm(image - x))
            return float(value), np.float64(slope).reshape(-1)

        for _ in range(searches):
            z = scipy.optimize.minimize(
                whole,
                z,
                jac=True,
                method="L-BFGS-B",
                bounds=[(0, 1)] * z.size,
                options={"maxiter": 100},
            ).x
            if evaluate(np.float32(z).reshape(shape), x, target, c)[2]:
                low = c
            else:
                high = c
            known = low > 0 and high < np.inf
            c = np.sqrt(low * high) if known else 4 * low or high / 4
        return found

    return lambda: np.array([nearest(*pair) for pair in zip(x, targets, strict=True)])


def main():
    """Times the attack on many images, and on a few beside SciPy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", help="data set (default: mnist)")
    parser.add_argument("--rounds", type=int, default=3, help="of all that is timed")
    parser.add_argument("--images", type=int, default=60, help="for SciPy")
    parser.add_argument(
        "--at_once", type=int, default=1000, help="images in one program"
    )
    parser.add_argument("--searches", type=int, default=15, help="of SciPy, an image")
    parser.add_argument("--most", type=int, default=100, help="steps of the training")
    add_output(parser)
    args = parser.parse_args()
    parts = intriguing.parts_of(data.load(args.data))
    recipes = {NET: intriguing.FIRST[NET]}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        nets = intriguing.classifiers_of(recipes, parts, folder, args.most)
    classifier, test = nets[NET], parts["test"]
    x = np.asarray(data.as_float(test.images[:]))
    targets = random_others(test.labels, intriguing.CLASSES)

    @jax.jit
    def search(x, targets):
        return attacks.minimum_distortion(
            classifier.loss, classifier.scores, x, targets, targeted=True
        )

    def at_once(number):
        images = jnp.asarray(x[:number]), jnp.asarray(targets[:number])
        return lambda: search(*images)

    few, many = args.images, args.at_once
    theirs = one_by_one(classifier, x[:few], targets[:few], searches=args.searches)
    pixels = np.sqrt(x[0].size)
    distances = {
        "SciPy's L-BFGS-B": theirs() / pixels,
        "minimum_distortion": np.asarray(at_once(few)().distortion) / pixels,
        f"minimum_distortion, {many} at once": np.asarray(at_once(many)().distortion)
        / pixels,
    }
    runs = {
        f"minimum_distortion, {many} at once": stopwatch(at_once(many), units=many),
        "minimum_distortion": stopwatch(at_once(few), units=few),
        "SciPy's L-BFGS-B": stopwatch(theirs, units=few),
    }
    rows = compare(f"an image, {NET}, {few} images", runs, rounds=args.rounds)
    for row in rows:
        found = distances[row["contestant"]]
        row["distortion"] = float(np.mean(found[np.isfinite(found)]))
        row["found"] = float(np.mean(np.isfinite(found)))
    report("minimum", rows, args)
    for row in rows:
        print(f"{row['contestant']}: {row['distortion']:.5f}, {row['found']:.1%} found")


if __name__ == "__main__":
    main()
