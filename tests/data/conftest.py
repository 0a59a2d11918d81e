"""Published data where it is at hand, and small TFDS sets written on the spot."""

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
