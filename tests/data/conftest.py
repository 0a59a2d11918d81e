"""Published data where it is at hand, and small TFDS sets written on the spot."""

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def published():
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the published data sets in {folder}")
    return folder


@pytest.fixture(scope="session")
def squares_builder():
    """A TFDS builder of 12 training and 6 test images in two classes."""
    import tensorflow_datasets as tfds

    class NoisySquares(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        SPLITS: ClassVar = {"train": 12, "test": 6}
        FEATURES: ClassVar = {
            "image": tfds.features.Image(shape=(6, 5, 3)),
            "label": tfds.features.ClassLabel(names=["dark", "light"]),
        }

        def _info(self):
            features = tfds.features.FeaturesDict(self.FEATURES)
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {name: self._generate_examples(n) for name, n in self.SPLITS.items()}

        def _generate_examples(self, count):
            for i in range(count):
                pixels = np.full((6, 5, 3), 10 * i, np.uint8)
                example = {"image": Image.fromarray(pixels), "label": i % 2, "size": i}
                yield i, {name: example[name] for name in self.FEATURES}

    return NoisySquares


@pytest.fixture(scope="session")
def write_set(squares_builder):
    """Prepares a set like `squares_builder`'s, with changes, in a folder."""
    import tensorflow_datasets as tfds

    def write(root, name="variant", **changes):
        with tfds.core.registered.skip_registration():
            variant = type("Variant", (squares_builder,), {"name": name, **changes})
        builder = variant(data_dir=root, file_format="array_record")
        builder.download_and_prepare()
        return Path(builder.data_dir)

    return write


@pytest.fixture(scope="session")
def photos():
    """Image files by split, with labels: of many sizes and kinds, as ImageNet has."""
    rng = np.random.default_rng(0)

    def photo(i):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        size = tuple(rng.integers(25, 90, 2).tolist())
        image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
        mode, kind = {1: ("L", "jpeg"), 2: ("CMYK", "jpeg"), 3: ("P", "png")}.get(
            i, ("RGB", "jpeg")
        )
        file = io.BytesIO()
        image.convert(mode).save(file, kind)
        return file.getvalue(), i % 3

    train, validation = ([photo(i) for i in range(n)] for n in (24, 9))
    return {
        "train": train,
        "validation": validation,
        "test": [(photo(i)[0], -1) for i in range(4)],
    }


@pytest.fixture(scope="session")
def photo_set(photos, write_set, tmp_path_factory):
    """A folder with the set "photos", in the form of TFDS's imagenet2012."""
    import tensorflow_datasets as tfds

    def examples(self, split):
        for i, (data, label) in enumerate(photos[split]):
            name = f"{split}_{i}.JPEG"
            yield name, {"image": io.BytesIO(data), "label": label, "file_name": name}

    root = tmp_path_factory.mktemp("photos")
    write_set(
        root,
        "photos",
        FEATURES={
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["n01", "n02", "n03"]),
            "file_name": tfds.features.Text(),
        },
        SPLITS={split: split for split in photos},
        _generate_examples=examples,
    )
    return str(root)
