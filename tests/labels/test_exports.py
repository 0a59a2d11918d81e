"""What is written for a codebook can be seen, heard and read again."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from robustlabels import labels

NAMES = ["cat", "either/or", "x" * 300]


def relative(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_a_codebook_is_read_again(tmp_path):
    codebook = labels.uniform(3, shape=(10,))
    files = labels.write(tmp_path / "out", codebook, NAMES)
    stems = ["cat", "either_or", "x" * 40]
    names = ["codebook.npz", "statistics.json", *(f"images/{s}.png" for s in stems)]
    assert relative(files, tmp_path / "out") == names
    on_disk = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert sorted(relative(on_disk, tmp_path / "out")) == sorted(names)
    np.testing.assert_array_equal(labels.from_file(3, files[0]), codebook)
    with np.load(files[0]) as arrays:
        assert arrays["class_names"].tolist() == NAMES
    figures = json.loads(files[1].read_text())
    found = labels.statistics(codebook)
    assert figures["l1"] == {"mean": found.l1.mean, "std": found.l1.std}
    assert figures["mean_huber"] == found.mean_huber
    assert figures["spectral_norm"] is None


@pytest.mark.parametrize(
    ("shape", "size"),
    [((10,), (250, 25)), ((8, 4), (128, 256)), ((2, 3, 2), (252, 84))],
)
def test_pictures_have_a_square_for_each_cell(shape, size, tmp_path):
    codebook = labels.uniform(2, shape=shape)
    files = labels.write(tmp_path, codebook, ["a", "b"])
    with Image.open(files[-1]) as image:
        assert image.size == size
        pixels = np.asarray(image.convert("RGB"))
    rows = shape[0] if len(shape) > 1 else 1
    cells = codebook[1].reshape(rows, -1)
    side = size[1] // rows
    blocks = pixels.reshape(rows, side, -1, side, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    brightness = blocks[:, 0, :, 0, 1].ravel().astype(int)  # viridis' green rises
    assert (np.diff(brightness[np.argsort(cells, axis=None)]) >= 0).all()


def test_sounds_are_read_again_as_recordings(tmp_path):
    sounds = labels.recordings(["cat", "dog"])
    codebook = labels.speech(["cat", "dog"])
    files = labels.write(tmp_path, codebook, ["cat", "dog"], sounds=sounds)
    assert relative(files[-2:], tmp_path) == ["sounds/cat.wav", "sounds/dog.wav"]
    again = labels.recordings(["cat", "dog"], wav_dir=tmp_path / "sounds")
    for sound, read in zip(sounds, again, strict=True):
        np.testing.assert_allclose(read, sound, atol=2**-15)
    with Image.open(files[2]) as image:  # the lowest band is at the bottom
        pixels = np.asarray(image.convert("RGB"))[:, :, 1].astype(int)
    side = len(pixels) // 64
    heights = pixels[::side, ::side][::-1]
    low, high = codebook[0] < 20, codebook[0] > 60
    assert heights[low].max() < heights[high].min()


def test_matrices_of_64_rows_are_heard(tmp_path):
    files = labels.write(tmp_path, labels.constant(2, shape=(64, 3)), ["a", "b"])
    assert relative(files[-2:], tmp_path) == ["sounds/a.wav", "sounds/b.wav"]
    rate, samples = wavfile.read(files[-1])
    assert rate == 22_050
    assert abs(samples.astype(int)).max() >= 2**15 - 1
    none = labels.write(
        tmp_path / "no", labels.constant(2, shape=(64, 3)), ["a", "b"], sounds=[]
    )
    assert not [path for path in none if path.suffix == ".wav"]


def test_numbers_that_differ(tmp_path):
    with pytest.raises(ValueError, match="2 labels for 3 classes"):
        labels.write(tmp_path, labels.constant(2), NAMES)
    with pytest.raises(ValueError, match="there are 1 sounds of 3 labels"):
        labels.write(tmp_path, np.eye(3), NAMES, sounds=[np.zeros(9, np.float32)])
    assert not list(tmp_path.iterdir())
