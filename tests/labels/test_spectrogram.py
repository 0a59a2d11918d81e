"""Spectrograms against sums by hand and librosa, and back to sounds."""

import numpy as np
import pytest

from robustlabels.labels import griffin_lim, log_mel, resize
from robustlabels.labels.sounds import RATE


def chirp(seconds=0.4):
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 + 4000 * time) * time)).astype(np.float32)


def hertz(mel):
    """Slaney's scale: 15 Mels of 200/3 Hz, then 27 for a factor of 6.4."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def cell_by_hand(sound, band, frame):
    """The power of one band in one frame, by the definition of each."""
    highest = 15 + 27 * np.log(8) / np.log(6.4)
    left, middle, right = (hertz(highest * (band + i) / 65) for i in range(3))
    around = [abs(256 * frame - 1024 + n) for n in range(2048)]
    samples = [sound[i if i < len(sound) else 2 * len(sound) - 2 - i] for i in around]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    power = 0.0
    for bin_ in range(1025):
        f = bin_ * RATE / 2048
        if left < f < right:
            height = min((f - left) / (middle - left), (right - f) / (right - middle))
            turns = np.exp(-2j * np.pi * bin_ * np.arange(2048) / 2048)
            power += height * abs((samples * window * turns).sum()) ** 2
    return 2 / (right - left) * power


def test_cells_by_their_definition():
    sound = chirp()
    found = log_mel(sound, RATE)
    assert found.shape == (64, 1 + len(sound) // 256)
    assert found.dtype == np.float32
    band, frame = np.unravel_index(found.argmax(), found.shape)
    assert found[band, frame] == 80
    assert found.min() == 0
    loudest = cell_by_hand(sound, band, frame)
    for cell in [(3, 0), (12, 7), (40, 30), (50, found.shape[1] - 1)]:
        level = 80 + 10 * np.log10(cell_by_hand(sound, *cell) / loudest)
        np.testing.assert_allclose(found[cell], max(level, 0), atol=1e-3)


def test_librosa_makes_the_same():
    librosa = pytest.importorskip("librosa", reason="librosa is in the extra `peers`")
    quiet = np.zeros(9000, np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)
    for sound in (chirp(), np.concatenate([quiet, noise, quiet]), 1e-3 * noise):
        trimmed, _ = librosa.effects.trim(sound)
        power = librosa.feature.melspectrogram(
            y=trimmed, sr=RATE, n_mels=64, hop_length=256, fmax=8000, pad_mode="reflect"
        )
        peer = librosa.power_to_db(power, ref=np.max) + 80
        found = log_mel(sound, RATE)
        np.testing.assert_allclose(found, peer, atol=2e-3)


def test_silence_at_the_ends_and_loudness_do_not_count():
    sound = chirp()
    padded = np.concatenate([np.zeros(512 * 20), sound, np.zeros(512 * 9)])
    assert log_mel(padded.astype(np.float32), RATE).shape[1] < 50
    np.testing.assert_allclose(
        log_mel(sound / 8, RATE), log_mel(sound, RATE), atol=1e-3
    )
    whole = np.round(2**15 * sound).astype(np.int16)
    assert abs(log_mel(whole, RATE) - log_mel(sound, RATE)).mean() < 0.5


@pytest.mark.parametrize(
    "sound", [np.zeros(0), np.zeros(9000), np.ones(1024), np.eye(1, 400)[0]]
)
def test_what_makes_no_spectrogram(sound):
    with pytest.raises(ValueError, match=r"more than 1,024 are needed\. Give a longer"):
        log_mel(sound, RATE)


def test_a_label_sounds_like_itself():
    label = resize(log_mel(chirp(), RATE)[None], (64, 64))[0]
    found = griffin_lim(label, seconds=0.5)
    assert found.shape == (RATE // 2,)
    assert found.dtype == np.float32
    assert abs(found).max() == 1
    np.testing.assert_array_equal(found, griffin_lim(label, seconds=0.5))
    heard = resize(log_mel(found, RATE)[None], (64, 64))[0]
    loud = label > 40
    assert abs(heard - label)[loud].mean() < 3
    assert abs(heard - label[:, ::-1])[loud].mean() > 10


def test_outputs_of_networks_are_clipped():
    label = resize(log_mel(chirp(), RATE)[None], (64, 20))[0]
    beyond = np.where(label == 0, -30, label)
    np.testing.assert_array_equal(
        griffin_lim(beyond, seconds=0.2), griffin_lim(label, seconds=0.2)
    )
    assert np.isfinite(griffin_lim(np.full((64, 3), -90.0), seconds=0.1)).all()


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        (np.zeros((63, 4)), {}, "63 bands. Sounds are made of 64"),
        (np.full((64, 4), np.nan), {}, "an entry of label=nan is outside"),
        (np.zeros((64, 4)), {"seconds": 0.01}, r"seconds=0.01 is outside \[0.1, inf\)"),
        (np.zeros((64, 4)), {"num_iterations": 0}, "num_iterations=0 is not"),
    ],
)
def test_what_has_no_sound(label, options, message):
    with pytest.raises(ValueError, match=message):
        griffin_lim(label, **options)
