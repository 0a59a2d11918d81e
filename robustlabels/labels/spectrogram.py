"""Log-Mel spectrograms of sounds, and sounds of log-Mel spectrograms."""

import functools

import numpy as np
from jaxtyping import Complex, Float, Float32, Num

from robustlabels import _validate
from robustlabels.labels.codebooks import HIGHEST
from robustlabels.labels.resizing import resize
from robustlabels.labels.sounds import RATE, Audio, at_rate

__all__ = ["BANDS", "griffin_lim", "log_mel"]

BANDS = 64
_WINDOW, _HOP, _HIGHEST_HZ = 2048, 256, 8000
_TRIM_HOP, _TRIM_DB = 512, 60
_FAINTEST = 1e-10  # a power that is less counts as this
_MEL_STEPS, _MOMENTUM = 10, 0.99


def log_mel(audio: Audio, sample_rate: int) -> Float32[np.ndarray, "bands frames"]:
    """The log-Mel spectrogram of a sound, in decibels above its floor.

    At 22,050 Hz, what is 60 dB below the loudest part is cut off at both ends; then
    there are 64 Mel bands (Slaney's) from 0 to 8 kHz of Hann windows of 2,048 samples,
    every 256, mirrored at the ends. The floor is 80 dB below the loudest cell, so that
    entries are in [0, 80]. It is what librosa makes of its defaults and these numbers.

    Args:
      audio: 16-bit, or floats in [-1, 1].
      sample_rate: samples a second.

    Raises:
      ValueError: for audio that is silent or too short.

    >>> tone = np.sin(np.arange(8000, dtype=np.float32))
    >>> log_mel(tone, 8000).shape
    (64, 87)
    """
    sound = _trimmed(at_rate(audio, sample_rate).astype(np.float64))
    if not sound.any() or len(sound) <= _WINDOW // 2:
        raise ValueError(
            f"there is sound in {len(sound) * sound.any()} samples at {RATE:,} Hz, and "
            f"more than {_WINDOW // 2:,} are needed. Give a longer recording."
        )
    loudness = _decibels(_mel_filters() @ abs(_stft(sound)) ** 2)
    loudness -= loudness.max() - HIGHEST
    return np.maximum(loudness, 0.0).astype(np.float32)


def griffin_lim(
    label: Num[np.ndarray, "bands columns"],
    *,
    seconds: float = 0.75,
    num_iterations: int = 32,
    seed: int = 0,
) -> Float32[np.ndarray, " samples"]:
    """What a label, or an output of a network, sounds like: audio at 22,050 Hz.

    The phases are found by Griffin & Lim (1984), with the momentum of Perraudin et al.
    (2013). How long the sound was got lost when the label was resized.

    Args:
      label: 64 bands, in decibels as `log_mel` has them; clipped to [0, 80].
      seconds: how long the sound is to be, at least 0.1.
      num_iterations: at least 1.
      seed: of the phases at first.

    Raises:
      ValueError: for another number of bands, or a value out of range.

    Guarantees: the loudest sample is at 1 or -1.

    >>> griffin_lim(np.eye(64) * 80, seconds=0.5).shape
    (11025,)
    """
    _validate.in_range(0.1, np.inf, seconds=seconds, fix="A word takes about 0.75.")
    _validate.count(num_iterations=num_iterations)
    _validate.in_range(-np.inf, np.inf, label=label, fix="Give decibels in [0, 80].")
    if len(label) != BANDS:
        raise ValueError(
            f"the label has {len(label)} bands. Sounds are made of {BANDS}, as speech "
            "has them."
        )
    length = round(seconds * RATE)
    clipped = np.clip(label[None].astype(np.float64), 0.0, HIGHEST)
    decibels = resize(clipped, (BANDS, 1 + length // _HOP))[0]
    mel = 10 ** ((decibels.astype(np.float64) - HIGHEST) / 10)
    magnitude = np.sqrt(_power_of(mel))
    turns = np.random.default_rng(seed).uniform(size=magnitude.shape)
    phases, previous = np.exp(2j * np.pi * turns), 0.0
    for _ in range(num_iterations):
        rebuilt = _stft(_inverse_stft(magnitude * phases, length))
        ahead = rebuilt + _MOMENTUM * (rebuilt - previous)
        phases, previous = ahead / np.maximum(abs(ahead), 1e-16), rebuilt
    sound = _inverse_stft(magnitude * phases, length)
    return (sound / abs(sound).max()).astype(np.float32)


def _trimmed(sound: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " kept"]:
    if not sound.size:
        return sound
    padded = np.pad(sound, _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_TRIM_HOP]
    loudness = _decibels((frames**2).mean(axis=1))
    heard = np.flatnonzero(loudness > loudness.max() - _TRIM_DB)
    return sound[heard[0] * _TRIM_HOP : (heard[-1] + 1) * _TRIM_HOP]


def _decibels(power: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    return 10 * np.log10(np.maximum(power, _FAINTEST))


@functools.cache
def _hann() -> Float[np.ndarray, " window"]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)


def _stft(sound: Float[np.ndarray, " samples"]) -> Complex[np.ndarray, "bins frames"]:
    padded = np.pad(sound, _WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    return np.fft.rfft(frames * _hann()).T


def _inverse_stft(
    spectrum: Complex[np.ndarray, "bins frames"], length: int
) -> Float[np.ndarray, " samples"]:
    """The sound whose frames are closest to those of the spectrum."""
    frames = np.fft.irfft(spectrum.T) * _hann()
    total, weight = np.zeros((2, length + _WINDOW))
    for i, frame in enumerate(frames):
        total[i * _HOP : i * _HOP + _WINDOW] += frame
        weight[i * _HOP : i * _HOP + _WINDOW] += _hann() ** 2
    middle = slice(_WINDOW // 2, _WINDOW // 2 + length)
    return total[middle] / weight[middle]


@functools.cache
def _mel_filters() -> Float[np.ndarray, "bands bins"]:
    """Triangles of equal area on Slaney's scale: linear to 1 kHz, then logarithmic."""
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / RATE)
    octaves = 27 / np.log(6.4)  # Mels that a factor of e makes above 1 kHz
    highest = 15 + octaves * np.log(_HIGHEST_HZ / 1000)
    mels = np.linspace(0.0, highest, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) / octaves))[
        :, None
    ]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies - left) / (middle - left)
    falling = (right - frequencies) / (right - middle)
    return np.maximum(0.0, np.minimum(rising, falling)) * (2 / (right - left))


def _power_of(
    mel: Float[np.ndarray, "bands frames"],
) -> Float[np.ndarray, "bins frames"]:
    """A power spectrum that has these Mel bands: Lee & Seung's (2001) updates."""
    filters = _mel_filters()
    power = filters.T @ mel
    for _ in range(_MEL_STEPS):
        power *= (filters.T @ mel) / np.maximum(filters.T @ (filters @ power), 1e-30)
    return power
