"""Data sets: images, class ids and their names, splits and label noise by seed."""

from robustlabels.data.augmentation import Augmentation, augment
from robustlabels.data.batches import filled_batches
from robustlabels.data.dataset import Dataset, Split, as_float
from robustlabels.data.loading import load
from robustlabels.data.prepared import prepare
from robustlabels.data.rows import Rows
from robustlabels.data.splits import class_partners, order, swap_labels, swap_matrix

__all__ = [
    "Augmentation",
    "Dataset",
    "Rows",
    "Split",
    "as_float",
    "augment",
    "class_partners",
    "filled_batches",
    "load",
    "order",
    "prepare",
    "swap_labels",
    "swap_matrix",
]
