"""The config of ImageNet on a small set of the same structure, read from disk."""

import pathlib

import numpy as np

from robustlabels import build, run
from robustlabels.config_file import load_config
from robustlabels.data import Rows, prepared
from robustlabels.evaluation import Record
from robustlabels.models import resnet
from robustlabels.sections import complete
from robustlabels.training import replicas

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "imagenet_mcel.py"


def test_the_config_trains_on_photos(photo_set, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "_LARGE", 0)
    monkeypatch.setattr(replicas, "_RESIDENT", 0)
    config = load_config(f"{CONFIG}:gmcel")
    assert config.encoder.depth == 152
    assert config.data.image_size == 224
    config.data.update(name="photos", data_dir=photo_set, image_size=32)
    config.data.validation_fraction = 0.25
    monkeypatch.setitem(resnet._BLOCKS, 18, (1, 1))
    config.encoder.depth = 18
    config.training.update(num_epochs=1, batch_size=6)
    config.evaluation.attacks = {"noise": {"name": "gaussian_noise"}}
    config.evaluation.epsilons = "1/255"
    for images in ("noise_images", "fooling_images", "diagnosed_examples"):
        config.evaluation[images] = 0
    config = complete(config)
    dataset = build.dataset(config)
    assert isinstance(dataset.train.images, Rows)
    sizes = [len(split.labels) for split in dataset[1:4]]
    assert sizes == [18, 6, 9]
    found = run.train(config, tmp_path / "run")
    records = [each for each in found if isinstance(each, Record)]
    assert {r.attack for r in records} == {"none", "noise"}
    assert {r.n for r in records} == {9}
    with np.load(tmp_path / "run" / "targets.npz") as kept:
        assert kept["class_names"].tolist() == list(dataset.class_names)
        np.testing.assert_allclose(kept["matrix"].sum(axis=-1), 1, rtol=1e-5)
