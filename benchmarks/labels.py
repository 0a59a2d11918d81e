"""Labels that are arrays against what one would write by hand, and a ResNet-32.

The Huber loss and its gradient are timed against Optax's of outputs less labels, in one
program, and with the labels gathered before it. The nearest of all labels, and the
gradient of its distance, are timed against all differences broadcast: in one program,
and for the decision op by op too, as NumPy would do it. The batch is the same for all;
op by op takes some gigabytes. In one program XLA holds a part of the broadcast for a
decision, and all of it for a gradient.

All of these run once more, each in a process of its own, for the most memory that is
resident, less what is after a first call, which compiles. The result counts. Ratios are
to the size of the outputs: an array of batch x classes x cells is 100.

ResNet-32 trains by SGD with momentum on CIFAR-shaped noise: ours with all that the
harness does in a scan of steps, and the same network by hand in PyTorch with channels
last, which is skipped where PyTorch is not installed (extra `peers`). Augmentation is
timed against our step.
"""

import argparse
import functools
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from timing import (
    Contestant,
    Row,
    add_output,
    compare,
    forget_peak,
    peak_megabytes,
    report,
    single,
    stepping,
    stopwatch,
)

from robustlabels import data, losses, models, objective, training

BATCH_SIZE, CLASSES, SHAPE = 512, 100, (64, 64)
GOAL, GOAL_MEMORY = 1.05, 4.0

NUM_IMAGES, IMAGE_SHAPE, NUM_CLASSES = 128, (32, 32, 3), 10
MEAN, STD = 0.5, 0.25
DEPTH, PARAMETERS, STEPS = 32, 466_906, 3
AUGMENTATION = data.Augmentation(crop_padding=4, flip=True, cutout=8)

Function = Callable[..., Any]


def optax_huber(outputs, labels, codebook):
    """The mean Huber loss by Optax."""
    return jnp.mean(optax.losses.huber_loss(outputs - codebook[labels]))


def huber(outputs, labels, codebook):
    """The mean Huber loss by ours."""
    return jnp.mean(losses.huber_to_label(outputs, labels, codebook=codebook))


def broadcast_squared(outputs, *, codebook):
    """All differences, squared."""
    return jnp.mean((outputs[:, None] - codebook) ** 2, axis=(2, 3))


def broadcast_huber(outputs, *, codebook):
    """Optax's loss of all differences."""
    return jnp.mean(optax.losses.huber_loss(outputs[:, None] - codebook), axis=(2, 3))


def broadcast_cosine(outputs, *, codebook):
    """All products of cells."""
    products = jnp.sum(outputs[:, None] * codebook, axis=(2, 3))
    lengths = (jnp.linalg.norm(a, axis=(1, 2)) for a in (outputs, codebook))
    return 1 - products / jnp.outer(*lengths)


def mean_and_gradient(loss: Function) -> Function:
    """A loss and its gradient by the outputs, in one program."""
    return jax.jit(jax.value_and_grad(loss))


def gathered_first(outputs, labels, codebook):
    """The gradient of Optax's loss, of labels gathered before."""
    return _of_arrays(outputs, codebook[labels])


@jax.jit
@jax.value_and_grad
def _of_arrays(outputs, arrays):
    return jnp.mean(optax.losses.huber_loss(outputs, arrays))


def nearest(distances: Function) -> Function:
    """The class whose label is nearest."""
    return lambda outputs, _, codebook: jnp.argmin(
        distances(outputs, codebook=codebook), axis=1
    )


def slope(distances: Function) -> Function:
    """The gradient of the distance to the nearest label, in one program."""

    def total(outputs, _, codebook):
        return jnp.sum(jnp.min(distances(outputs, codebook=codebook), axis=1))

    return jax.jit(jax.grad(total))


def by_case() -> dict[str, dict[str, Function]]:
    """Functions of outputs, labels and codebook by contestant; the last is ours."""
    size = " x ".join(map(str, (BATCH_SIZE, *SHAPE)))
    cases: dict[str, dict[str, Function]] = {
        f"Huber loss of the label and gradient, {size}": {
            "Optax": mean_and_gradient(optax_huber),
            "Optax, labels gathered first": gathered_first,
            "losses.huber_to_label": mean_and_gradient(huber),
        }
    }
    for kind, ours, theirs in (
        ("squared", losses.squared_to_labels, broadcast_squared),
        ("Huber", losses.huber_to_labels, broadcast_huber),
        ("cosine", losses.cosine_to_labels, broadcast_cosine),
    ):
        name = f"losses.{ours.__name__}"
        cases[f"nearest of {CLASSES} labels, {kind}, {size}"] = {
            "broadcast": jax.jit(nearest(theirs)),
            "broadcast, op by op": nearest(theirs),
            name: jax.jit(nearest(ours)),
        }
        cases[f"gradient of the nearest's distance, {kind}, {size}"] = {
            "broadcast": slope(theirs),
            name: slope(ours),
        }
    return cases


def regression_arrays() -> list[jax.Array]:
    """Outputs, labels and codebook: outputs near to the array of their class."""
    rng = np.random.default_rng(0)
    codebook = rng.uniform(0, 80, (CLASSES, *SHAPE)).astype(np.float32)
    labels = rng.integers(0, CLASSES, BATCH_SIZE).astype(np.int32)
    noise = rng.normal(0, 3, (BATCH_SIZE, *SHAPE)).astype(np.float32)
    return [jnp.asarray(a) for a in (codebook[labels] + noise, labels, codebook)]


def compare_regression(rounds: int) -> list[Row]:
    """The seconds of all cases."""
    arrays = regression_arrays()
    rows = []
    for case, functions in by_case().items():
        *_, ours = functions
        contestants = {
            name: stopwatch(functools.partial(f, *arrays))
            for name, f in functions.items()
        }
        rows += compare(case, contestants, rounds=rounds, goals={ours: GOAL})
    return rows


def perform(case: str, name: str) -> None:
    """Calls a function twice in this process, and prints figures of the second call."""
    function, arrays = by_case()[case][name], regression_arrays()
    jax.block_until_ready(function(*arrays))
    time.sleep(1.0)  # What a call has held is let go of after its result is there.
    forget_peak()
    before, start = peak_megabytes(), time.perf_counter()
    jax.block_until_ready(function(*arrays))
    figures = {
        "seconds": time.perf_counter() - start,
        "megabytes": peak_megabytes() - before,
    }
    print(json.dumps(figures))


def compare_memory() -> list[Row]:
    """The memory of all cases, in sizes of the outputs."""
    size = 4 * BATCH_SIZE * math.prod(SHAPE) / 1e6
    rows = []
    for case, functions in by_case().items():
        *_, ours = functions
        for name in functions:
            print(f"{case}, memory, {name} ...", flush=True)
            command = [sys.executable, __file__, "--case", case, "--contestant", name]
            # Every array from the system, none from what the first call has left.
            fresh = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
            done = subprocess.run(
                command, stdout=subprocess.PIPE, check=True, text=True, env=fresh
            )
            figures = json.loads(done.stdout.splitlines()[-1])
            ratio = figures["megabytes"] / size
            row = single(f"{case}, memory in outputs", name, figures, ratio)
            if name == ours:
                row |= {"goal": GOAL_MEMORY, "met": ratio <= GOAL_MEMORY}
            rows.append(row)
    return rows


def training_set() -> data.Split:
    """Noise of CIFAR's shape, as much as a scan of steps takes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS * NUM_IMAGES, *IMAGE_SHAPE), np.uint8)
    return data.Split(images, rng.integers(0, NUM_CLASSES, len(images), np.int32))


def harness(split: data.Split) -> Contestant:
    """Steps of the harness in one program."""
    rngs = nnx.Rngs(0)
    encoder = models.CIFARResNet(IMAGE_SHAPE, depth=DEPTH, rngs=rngs)
    head = models.Softmax(encoder.out_features, NUM_CLASSES, rngs=rngs)
    model = models.Network(encoder, head, mean=(MEAN,) * 3, std=(STD,) * 3)
    family, optimizer = objective.softmax(), training.optimizers.sgd(0.1)
    key = jax.random.key(0)
    graphdef, state = training.init_state(model, family, optimizer, key)
    assert sum(p.size for p in jax.tree.leaves(state.params)) == PARAMETERS
    step = training.make_step(graphdef, family, optimizer, num_steps=10_000)
    run = jax.jit(functools.partial(training.run_stretch, step), donate_argnums=0)
    images, labels = jax.device_put((split.images, split.labels))
    index = np.arange(len(labels)).reshape(STEPS, -1)
    mask = np.ones(index.shape, bool)

    def steps(state):
        return run(state, images, labels, index, mask, key)[0]

    return stopwatch(stepping(steps, state), units=STEPS)


def by_torch(split: data.Split) -> Contestant:
    """The same steps by hand in PyTorch, on images that are floats already."""
    import torch  # pyrefly: ignore[missing-import]
    import twins

    body = twins.resnet(DEPTH, channels=IMAGE_SHAPE[-1], classes=NUM_CLASSES)
    model = twins.Normalized(body, MEAN, STD).to(memory_format=torch.channels_last)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    # Permuted arrays have their channels last.
    images = twins.images(data.as_float(split.images[:]))
    labels = torch.from_numpy(split.labels).long()
    batches = list(zip(images.split(NUM_IMAGES), labels.split(NUM_IMAGES), strict=True))

    def steps():
        for x, y in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    return stopwatch(steps, units=STEPS)


def compare_training(rounds: int) -> list[Row]:
    """A step of ResNet-32, and what augmentation adds to it."""
    split = training_set()
    case = f"training step, ResNet-{DEPTH}, {NUM_IMAGES} images"
    step = harness(split)
    contestants = {"scan of steps": step}
    if importlib.util.find_spec("torch") is None:
        print(f"{case}, PyTorch: skipped, it is not installed", flush=True)
    else:
        contestants = {"PyTorch, channels last": by_torch(split)} | contestants
    rows = compare(case, contestants, rounds=rounds)

    images = jax.device_put(split.images[:NUM_IMAGES])
    augment = jax.jit(functools.partial(data.augment, augmentation=AUGMENTATION))
    changes = functools.partial(augment, jax.random.key(0), images)
    rows += compare(
        f"augmentation, {NUM_IMAGES} images: crop, flip, cut-out",
        {f"training step, ResNet-{DEPTH}": step, "data.augment": stopwatch(changes)},
        rounds=rounds,
    )
    for row in rows:
        row["images_per_second"] = NUM_IMAGES / row["seconds"][1]
    return rows


def main():
    """Times and weighs regression, then times training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of all that is timed")
    add_output(parser)
    for inner in ("--case", "--contestant"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        perform(args.case, args.contestant)
        return
    rows = compare_regression(args.rounds)
    rows += compare_memory()
    rows += compare_training(args.rounds)
    report("labels", rows, args)
    for row in rows:
        if "megabytes" in row:
            print(f"{row['case']}, {row['contestant']}: {row['megabytes']:,.1f} MB")
        if "images_per_second" in row:
            rate = row["images_per_second"]
            print(f"{row['case']}, {row['contestant']}: {rate:,.0f} images/s")


if __name__ == "__main__":
    main()
