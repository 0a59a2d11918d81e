"""Foolbox as an oracle: it shares no code with the attacks that are tested."""

import contextlib
import importlib
import warnings

import numpy as np


@contextlib.contextmanager
def foolbox_model(logits):
    """The module, and its model of a function (x) -> [batch, classes].

    It imports what SciPy deprecates, so warnings do not count within.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox = importlib.import_module("foolbox")
        yield foolbox, foolbox.JAXModel(logits, bounds=(0, 1))


def of_foolbox(foolbox, attack, model, x, labels, epsilons=None):
    """Images and success of an attack as NumPy arrays; no epsilon is the least one."""
    images, _, success = attack(model, x, labels, epsilons=epsilons)
    return np.asarray(images), np.asarray(success)
