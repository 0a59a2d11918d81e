"""Labels to look at and to listen to."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16, Num

from robustlabels._files import whole
from robustlabels._progress import Progress
from robustlabels.labels.codebooks import Codebook, check_codebook
from robustlabels.labels.measures import Spread, statistics
from robustlabels.labels.names import file_stems
from robustlabels.labels.sounds import RATE
from robustlabels.labels.spectrogram import BANDS, griffin_lim

__all__ = ["write"]

_SIDE = 256  # pixels that a picture has at least, on its longer side


def write(
    out: str | Path,
    codebook: Num[np.ndarray, " classes *cells"],
    class_names: Sequence[str],
    *,
    sounds: Sequence[Float32[np.ndarray, " _"]] | None = None,
) -> list[Path]:
    """Writes a codebook, with a picture of each label and its sound if it has one.

    `codebook.npz` is what `from_file` reads; `statistics.json` has the `statistics`.
    `images/NAME.png` are labels in colours that span the whole codebook, row 0 on top,
    or at the bottom if labels are sounds. `sounds/NAME.wav` are what `recordings` reads
    as wav_dir.

    Args:
      out: folder, made if missing; files that are there are replaced.
      codebook: of at least 2 classes.
      class_names: of any characters; see `file_stems`.
      sounds: of every class, at 22,050 Hz in [-1, 1]. None makes them of matrices that
        have 64 rows with `griffin_lim`.

    Returns:
      the files that were written.

    Raises:
      ValueError: for numbers of names, labels and sounds that differ.
      OSError: if a file cannot be written.

    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp())
    >>> files = write(out, np.eye(2, dtype=np.float32), ["cat", "dog"])
    >>> [str(path.relative_to(out)) for path in files]
    ['codebook.npz', 'statistics.json', 'images/cat.png', 'images/dog.png']
    """
    from matplotlib.image import imsave
    from scipy.io import wavfile

    labels = check_codebook(codebook, num_classes=len(class_names))
    if sounds is None:
        sounds = _reconstructed(labels)
    if len(sounds) not in (0, len(labels)):
        raise ValueError(
            f"there are {len(sounds)} sounds of {len(labels)} labels. Give one a label."
        )
    figures = {
        name: value._asdict() if isinstance(value, Spread) else value
        for name, value in statistics(labels)._asdict().items()
    }
    out, stems = Path(out), file_stems(class_names)
    written = [out / "codebook.npz", out / "statistics.json"]
    with whole(written[0]) as file:
        np.savez(file, codebook=labels, class_names=np.array(list(class_names)))
    with whole(written[1]) as file:
        file.write(json.dumps(figures, indent=2).encode())
    low, high = labels.min(), labels.max()
    for stem, label in zip(stems, labels, strict=True):
        written.append(out / "images" / f"{stem}.png")
        with whole(written[-1]) as file:
            rows = _pixels(label)[:: -1 if len(sounds) else 1]
            imsave(file, rows, format="png", vmin=low, vmax=high, cmap="viridis")
    for stem, sound in zip(stems, sounds, strict=False):
        written.append(out / "sounds" / f"{stem}.wav")
        with whole(written[-1]) as file:
            wavfile.write(file, RATE, _sixteen_bits(sound))
    return written


def _reconstructed(labels: Codebook) -> list[Float32[np.ndarray, " _"]]:
    """The sounds of matrices that may be spectrograms."""
    if labels.ndim != 3 or labels.shape[1] != BANDS:
        return []
    with Progress(total=len(labels), what="sounds", unit="labels") as progress:
        sounds = []
        for label in labels:
            sounds.append(griffin_lim(label))
            progress.advance()
    return sounds


def _pixels(label: Float32[np.ndarray, " *cells"]) -> Float32[np.ndarray, "h w"]:
    """The label as a matrix, its cells as squares that can be seen."""
    rows = label.shape[0] if label.ndim > 1 else 1
    matrix = label.reshape(rows, -1)
    return np.kron(
        matrix, np.ones([max(1, _SIDE // max(matrix.shape))] * 2, np.float32)
    )


def _sixteen_bits(sound: Float32[np.ndarray, " samples"]) -> Int16[np.ndarray, " n"]:
    return np.clip(np.round(sound * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
