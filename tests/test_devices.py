"""One, two and four devices: the same losses, and the same examples that stand."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import functools, json, sys
import jax, numpy as np
from flax import nnx
from robustlabels import data, evaluation, models, objective, parallel, training
from robustlabels.evaluation import budgets

assert jax.device_count() == 4
dataset = data.load("digits", train_fraction=0.25)
training_losses, flags, outcomes = {}, {}, {}


def network(kind):
    rngs = nnx.Rngs(0)
    if kind == "mlp":
        encoder = models.MLP((8, 8, 1), widths=(16, 8), norm="batch", rngs=rngs)
        head = models.Prototypes(8, 10, rngs=rngs)
    else:
        encoder = models.CNN((8, 8, 1), widths=(8,), features=32, rngs=rngs)
        head = models.Softmax(32, 10, rngs=rngs)
    return models.Network(
        encoder, head, mean=dataset.mean.tolist(), std=dataset.std.tolist()
    )


plan = {"mlp": (objective.sng(range(10)), 0.5), "cnn": (objective.softmax(), 0.05)}
for kind, (family, rate) in plan.items():
    fitted = None
    for count in (1, 2, 4):
        mesh = parallel.make_mesh(jax.devices()[:count])
        folder = f"{sys.argv[1]}/{kind}-{count}"
        trained = training.fit(
            [network(kind), network(kind)],
            family,
            dataset,
            optimizer=training.optimizers.sgd,
            schedule=functools.partial(training.schedules.constant, rate),
            num_epochs=2,
            batch_size=30,  # four devices do not share it evenly
            input_noise=0.1,
            crop_padding=1,
            flip=True,
            cutout=2,
            workdir=folder,
            mesh=mesh,
        )
        fitted = fitted or trained
        lines = map(json.loads, open(f"{folder}/metrics.jsonl"))
        training_losses.setdefault(kind, []).append(
            [[e["train_loss"], e["validation_loss"]] for e in lines]
        )
        attacker = evaluation.make_attacker(
            budgets.pgd(num_steps=12), lambda c: c.margin, mesh=mesh, batch_size=50
        )
        outcome = attacker(
            fitted.classifier, dataset.test, [0.03, 0.15], key=jax.random.key(0)
        )
        flags.setdefault(kind, []).append(outcome.fallen.tolist())
print(json.dumps([training_losses, flags]))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags.append("--xla_force_host_platform_device_count=4")
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("devices"))],
        env={**os.environ, "XLA_FLAGS": " ".join(flags)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_training_losses_agree(results, kind):
    one, two, four = (np.array(losses) for losses in results[0][kind])
    assert one.shape == (4, 2)  # two epochs of two replicas
    np.testing.assert_allclose(two, one, rtol=1e-5)
    np.testing.assert_allclose(four, one, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_same_examples_stand(results, kind):
    """Rounding may turn one in a thousand at the boundary."""
    one, two, four = (np.array(fallen) for fallen in results[1][kind])
    assert len(np.unique(one)) == 4  # wrong, fallen at each epsilon, standing
    for other in (two, four):
        turned = int(np.sum(one != other))
        assert turned <= len(one) / 1000, f"{turned} of {len(one)} turned"
