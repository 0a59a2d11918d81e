"""What a net makes of some validation images, kept at moments of its training."""

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int32

from robustlabels import _validate
from robustlabels._files import whole
from robustlabels.data import Split, as_float
from robustlabels.data.npz import read_npz

__all__ = ["Snapshot", "Snapshots", "moments", "read_snapshots"]

IMAGES = 500
_FOLDER = "features"


class Snapshot(NamedTuple):
    """Embeddings of the first validation images after an epoch.

    Attributes:
      epoch: 0 is the untrained net.
      features: [images, features].
      labels: class ids.
    """

    epoch: int
    features: Float32[np.ndarray, "images features"]
    labels: Int32[np.ndarray, " images"]


def moments(snapshots: int, num_epochs: int) -> frozenset[int]:
    """Epochs at equal distances, the untrained net and the last epoch among them.

    Args:
      snapshots: how many; 0 is none, and 1 is the last epoch alone.
      num_epochs: of the training.

    Raises:
      ValueError: for a number below 0.

    >>> sorted(moments(3, 10))
    [0, 5, 10]
    """
    _validate.count(minimum=0, snapshots=snapshots)
    if snapshots == 1:
        return frozenset([num_epochs])
    return frozenset(np.linspace(0, num_epochs, snapshots).round().astype(int).tolist())


class Snapshots:
    """Takes a snapshot of the first replica at each moment.

    Args:
      workdir: the run's folder; None keeps nothing.
      at: epochs, from `moments`.
      graphdef: structure of the model, which names its "embedding".
      split: validation images.
    """

    def __init__(
        self,
        workdir: str | pathlib.Path | None,
        at: frozenset[int],
        graphdef: nnx.GraphDef,
        split: Split,
    ):
        self._folder = None if workdir is None else pathlib.Path(workdir, _FOLDER)
        self._at = at
        self._split = split.take(np.arange(min(IMAGES, len(split.labels))))

        @jax.jit
        def embed(params, statistics, images):
            model = nnx.merge(graphdef, params, statistics, copy=True)
            return model(images)[1]["embedding"]

        self._embed = embed

    def take(self, epoch: int, candidate: Any) -> None:
        """Keeps the embeddings, if this is one of the moments.

        Args:
          epoch: that ended just now.
          candidate: of `replicas.Programs`, the models as they would be kept.

        Raises:
          OSError: if they cannot be written.
        """
        if self._folder is None or epoch not in self._at:
            return
        params, statistics, _ = jax.tree.map(lambda x: x[0], candidate)
        images = jnp.asarray(as_float(self._split.images[:]))
        features = np.asarray(self._embed(params, statistics, images), np.float32)
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole(self._folder / f"{epoch:06d}.npz") as file:
            np.savez(file, features=features, labels=self._split.labels)


def read_snapshots(workdir: str | pathlib.Path) -> Iterator[Snapshot]:
    """The snapshots in a run's folder, in the order of their epochs.

    Args:
      workdir: the run's folder.

    Raises:
      ValueError: naming a file that is damaged.

    >>> list(read_snapshots("nowhere"))
    []
    """
    for path in sorted(pathlib.Path(workdir, _FOLDER).glob("*.npz")):
        arrays = read_npz(path)
        yield Snapshot(int(path.stem), arrays["features"], arrays["labels"])
