"""Sounds at one rate, from WAV files and from samples at another rate."""

import math
import struct
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int16

from robustlabels import _validate

__all__ = ["RATE", "Audio", "at_rate", "read_wav"]

Audio = Float[np.ndarray, " samples"] | Int16[np.ndarray, " samples"]

RATE = 22_050  # samples a second


def at_rate(audio: Audio, sample_rate: int) -> Float32[np.ndarray, " new_samples"]:
    """The sound at 22,050 samples a second: its Fourier series, cut or continued by 0.

    Args:
      audio: 16-bit, or floats in [-1, 1].
      sample_rate: samples a second it has.

    Raises:
      ValueError: for a rate that is none.

    >>> at_rate(np.full(4, 2**14, np.int16), RATE)
    array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    >>> at_rate(np.zeros(4000), 8000).shape
    (11025,)
    """
    _validate.count(sample_rate=sample_rate)
    if audio.dtype == np.int16:
        audio = audio / np.float32(2**15)
    if sample_rate == RATE or not audio.size:
        return audio.astype(np.float32)
    divisor = math.gcd(sample_rate, RATE)
    step, new_step = sample_rate // divisor, RATE // divisor
    steps = -(-len(audio) // step)  # whole ones, so that no time is stretched
    length, new_length = steps * step, steps * new_step
    spectrum = np.fft.rfft(audio, length)[: new_length // 2 + 1]
    resampled = np.fft.irfft(spectrum, new_length) * (new_length / length)
    kept = math.ceil(len(audio) * new_step / step)
    return resampled[:kept].astype(np.float32)


def read_wav(path: Path) -> Float32[np.ndarray, " samples"]:
    """A recording at 22,050 Hz in [-1, 1]; channels are averaged.

    Raises:
      ValueError: if it is damaged, empty or silent.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            # About chunks that are no sound, such as the name of a program.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except (ValueError, EOFError, struct.error) as error:
        raise ValueError(f"{path} is no WAV file ({error}). Record it again.") from None
    if samples.dtype.kind in "iu":
        bits = 8 * samples.dtype.itemsize
        middle = 2**7 if bits == 8 else 0  # only bytes have no sign
        samples = (samples - np.float32(middle)) / np.float32(2 ** (bits - 1))
    audio = samples if samples.ndim == 1 else samples.mean(axis=1)
    if not audio.any():
        raise ValueError(f"{path} is empty or silent. Record it again.")
    return at_rate(audio, rate)
