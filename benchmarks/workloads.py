"""The networks and images that are timed: MNIST in shape, made of noise."""

import contextlib
import io
import json
import pathlib
import tempfile
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import DTypeLike

from robustlabels import models, training
from robustlabels.data import Dataset, Split
from robustlabels.objective import Family

IMAGE_SHAPE = (28, 28, 1)
NUM_CLASSES = 10
BATCH_SIZE = 128


def split(size: int) -> Split:
    """Images of uint8, a pattern for each class under noise, and their class ids."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (NUM_CLASSES, *IMAGE_SHAPE))
    labels = rng.integers(0, NUM_CLASSES, size)
    noise = rng.integers(0, 128, (size, *IMAGE_SHAPE))
    return Split((patterns[labels] + noise).astype(np.uint8), labels.astype(np.int32))


def dataset(size: int) -> Dataset:
    """A data set that trains on `split(size)` and validates on a single batch."""
    train, small = split(size), split(BATCH_SIZE)
    return Dataset(
        name="synthetic",
        train=train,
        validation=small,
        test=small,
        class_names=tuple(map(str, range(NUM_CLASSES))),
        mean=np.array([0.5], np.float32),
        std=np.array([0.25], np.float32),
        clean_labels=train.labels,
    )


def mlp(dtype: DTypeLike = jnp.float32) -> models.Network:
    """784-1200-1200-200 with batch normalisation, and ten prototypes."""
    rngs = nnx.Rngs(0)
    encoder = models.MLP(IMAGE_SHAPE, norm="batch", dtype=dtype, rngs=rngs)
    return _network(encoder, models.Prototypes(200, NUM_CLASSES, rngs=rngs))


def cnn() -> models.Network:
    """Two convolutions of 32 and 64 channels, a dense layer of 128, and a softmax."""
    rngs = nnx.Rngs(0)
    encoder = models.CNN(IMAGE_SHAPE, rngs=rngs)
    return _network(encoder, models.Softmax(128, NUM_CLASSES, rngs=rngs))


def _network(encoder: models.Encoder, head: models.Head) -> models.Network:
    return models.Network(encoder, head, mean=(0.5,), std=(0.25,))


def fit(models: Any, family: Family, data: Dataset, **options: Any) -> training.Fitted:
    """Two epochs of Adam, which say nothing."""
    with contextlib.redirect_stderr(io.StringIO()):
        return training.fit(
            models,
            family,
            data,
            optimizer=training.optimizers.adam,
            schedule=lambda num_steps: optax.constant_schedule(1e-3),
            num_epochs=2,
            batch_size=BATCH_SIZE,
            **options,
        )


def epoch_seconds(models: Any, family: Family, data: Dataset, **options: Any) -> float:
    """What the second epoch of `fit` took, by the metrics that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        fit(models, family, data, workdir=folder, **options)
        lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    return len(data.train.labels) / json.loads(lines[-1])["examples_per_second"]
