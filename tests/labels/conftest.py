"""Class names, and the labels and recordings that were published, where at hand."""

from pathlib import Path

import pytest

CIFAR_10 = ["airplane", "automobile", "bird", "cat", "deer"]
CIFAR_10 += ["dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(scope="session")
def cifar_10():
    return CIFAR_10


@pytest.fixture(scope="session")
def released():
    data = Path(__file__).parents[3] / "shared" / "data"
    folder = data / "raw" / "released_labels"
    if not folder.is_dir():
        pytest.skip(f"needs the published labels in {folder}")
    return folder
