"""Training: optimisers and schedules by name, the step, the loop, checkpoints."""

from robustlabels.training import optimizers, schedules
from robustlabels.training.checkpoints import Checkpoint, Checkpoints
from robustlabels.training.embeddings import embeddings
from robustlabels.training.loop import check_options, fit, restore
from robustlabels.training.metrics import MetricsWriter
from robustlabels.training.snapshots import Snapshot, read_snapshots
from robustlabels.training.standing import Diverged, Fitted, Standing
from robustlabels.training.step import (
    Batch,
    Metrics,
    TrainState,
    init_state,
    make_step,
    predict,
    predictor,
    run_stretch,
)

__all__ = [
    "Batch",
    "Checkpoint",
    "Checkpoints",
    "Diverged",
    "Fitted",
    "Metrics",
    "MetricsWriter",
    "Snapshot",
    "Standing",
    "TrainState",
    "check_options",
    "embeddings",
    "fit",
    "init_state",
    "make_step",
    "optimizers",
    "predict",
    "predictor",
    "read_snapshots",
    "restore",
    "run_stretch",
    "schedules",
]
