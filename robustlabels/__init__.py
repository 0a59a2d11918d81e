"""Other labels and losses for image classifiers in JAX, attacked honestly.

`losses` and `attacks` are pure functions that know no model; `labels` has arrays to ask
for instead of classes; `objective` binds a loss and a decision into a classifier;
`parallel` spreads examples over devices; `analysis` looks into a net; `models`, `data`,
`training` and `evaluation` make a harness of them, which the command `robustlabels`
runs from config files.
"""

__version__ = "0.1.0"

from robustlabels import (
    analysis,
    attacks,
    data,
    evaluation,
    labels,
    losses,
    models,
    objective,
    parallel,
    training,
)

__all__ = [
    "analysis",
    "attacks",
    "data",
    "evaluation",
    "labels",
    "losses",
    "models",
    "objective",
    "parallel",
    "training",
]
