"""Spoken labels: the sound of a class's name as a log-Mel spectrogram."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from robustlabels.labels.codebooks import Codebook, check_codebook, checked_shape
from robustlabels.labels.generated import shuffled
from robustlabels.labels.names import file_stems
from robustlabels.labels.resizing import resize
from robustlabels.labels.sounds import RATE, at_rate, read_wav
from robustlabels.labels.spectrogram import log_mel
from robustlabels.labels.voices import synthesize

__all__ = ["recordings", "shuffled_speech", "speech"]


def speech(
    class_names: Sequence[str],
    *,
    wav_dir: str | Path | None = None,
    voice: str = "en-us",
    shape: Sequence[int] = (64, 64),
) -> Codebook:
    """Log-Mel spectrograms of spoken class names, Chen et al. (2021), section 4.1.

    Each is `log_mel` of a recording, resized. Entries are decibels above a floor that
    is 80 below the loudest cell: the published arrays plus 80. Rows are bands, the
    lowest first; columns are time.

    Args:
      class_names: at least 2, in the order of the class ids.
      wav_dir: folder of recordings to use; None has espeak-ng speak. See `recordings`.
      voice: a language or voice of espeak-ng; see `synthesize`.
      shape: rows and columns of a label.

    Raises:
      ImportError: without the extra `speech`.
      FileNotFoundError: if a recording is missing.
      ValueError: for a class without sound, two that sound the same, or a value out of
        range.

    >>> labels = speech(["cat", "dog"])
    >>> labels.shape, bool(labels.min() >= 0), bool(labels.max() <= 80)
    ((2, 64, 64), True, True)
    """
    checked_shape(shape, sides=2)
    labels = []
    audio = recordings(class_names, wav_dir=wav_dir, voice=voice)
    for name, sound in zip(class_names, audio, strict=True):
        try:
            labels.append(resize(log_mel(sound, RATE)[None], shape)[0])
        except ValueError as error:
            raise ValueError(f"class {name!r}: {error}") from None
    return check_codebook(np.array(labels), num_classes=len(class_names))


def shuffled_speech(
    class_names: Sequence[str],
    *,
    wav_dir: str | Path | None = None,
    voice: str = "en-us",
    shape: Sequence[int] = (64, 64),
    seed: int = 8,
) -> Codebook:
    """`speech` with the columns of each label in another order: `shuffled`.

    >>> labels = shuffled_speech(["cat", "dog"])
    >>> bool((np.sort(labels) == np.sort(speech(["cat", "dog"]))).all())
    True
    """
    labels = speech(class_names, wav_dir=wav_dir, voice=voice, shape=shape)
    return shuffled(labels, seed=seed)


def recordings(
    class_names: Sequence[str],
    *,
    wav_dir: str | Path | None = None,
    voice: str = "en-us",
) -> list[Float32[np.ndarray, " _"]]:
    """The sound of every class's name, at 22,050 Hz, in [-1, 1].

    Args:
      class_names: in the order of the class ids; underscores are spoken as spaces.
      wav_dir: folder with a WAV a class, called after its name, or all after their
        ids: `cat.wav` or `3.wav`. None has espeak-ng speak.
      voice: a language or voice of espeak-ng; see `synthesize`.

    Raises:
      ImportError: without the extra `speech`.
      FileNotFoundError: if a recording is missing: all that are.
      ValueError: for a class without sound, or a file that is damaged.

    >>> [len(sound) > 0.2 * RATE for sound in recordings(["cat", "dog"])]
    [True, True]
    """
    if wav_dir is not None:
        return [
            read_wav(path) for path in _files(class_names, Path(wav_dir).expanduser())
        ]
    sounds = []
    for name in class_names:
        audio, rate = synthesize(name.replace("_", " "), voice=voice)
        if not audio.any():
            raise ValueError(
                f"class {name!r} makes no sound with voice={voice!r}. Rename it, use "
                "a voice of its language, or give recordings as wav_dir."
            )
        sounds.append(at_rate(audio, rate))
    return sounds


def _files(class_names: Sequence[str], folder: Path) -> list[Path]:
    """A recording for each class: all called after their names, or all after ids."""
    by_name, by_id = file_stems(class_names), map(str, range(len(class_names)))
    missing = []
    for stems in (by_name, by_id):
        paths = [folder / f"{stem}.wav" for stem in stems]
        missing.append([path.name for path in paths if not path.is_file()])
        if not missing[-1]:
            return paths
    fewest = min(missing, key=len)
    raise FileNotFoundError(
        f"{len(fewest)} recordings of {len(class_names)} are missing in {folder}: "
        f"{', '.join(fewest)}. Call each after its class, as in {by_name[0]}.wav, or "
        "all after their class ids, as in 0.wav."
    )
