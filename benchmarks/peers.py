"""Attacks beside those of Foolbox, torchattacks and ART: same weights, same images.

A small CNN of MNIST's shape and ResNet-20 of CIFAR's are trained for a moment on
patterns under noise; PyTorch twins get their weights. Every attack has the same budget
everywhere, all images take all steps, and beside the times is the share of images that
each fools. The floor is as many jitted input gradients as there are steps, called from
the host. Needs the extra `peers`; who is not installed is left out.
"""

import argparse
import itertools
import warnings
from collections.abc import Callable

import jax
from contestants import (
    Contestants,
    Setting,
    by_art,
    by_foolbox,
    by_harness,
    by_torchattacks,
    floor,
    ours,
    residual,
    small,
    there,
)
from timing import add_output, report

from robustlabels import attacks
from robustlabels.evaluation import budgets

EPSILON, STEPS, QUERIES = 0.1, 40, 200
SEARCHES, SEARCH_STEPS = 3, 50
EPSILONS = [i / 40 for i in range(1, 9)]


def fgsm(setting: Setting) -> dict[str, Callable]:
    """One step of 0.1."""
    runs = {
        "attacks.fgsm": ours(
            setting, lambda c, x, y: attacks.fgsm(c.loss, x, y, epsilon=EPSILON)
        ),
        "one input gradient": floor(setting, 1),
    }
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        runs |= by_foolbox(setting, attack, EPSILON)
    if there("torchattacks"):
        runs |= by_torchattacks(setting, "FGSM", eps=EPSILON)
    if there("art"):
        runs |= by_art(setting, "FastGradientMethod", eps=EPSILON)
    return runs


def pgd(setting: Setting) -> dict[str, Callable]:
    """Forty steps of 0.01 from a random start."""
    step = EPSILON / 10
    runs = {
        "attacks.pgd": ours(
            setting,
            lambda c, x, y: attacks.pgd(
                c.loss,
                x,
                y,
                epsilon=EPSILON,
                num_steps=STEPS,
                step_size=step,
                key=jax.random.key(0),
            ),
        ),
        f"{STEPS} input gradients": floor(setting, STEPS),
    }
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=STEPS)
        runs |= by_foolbox(setting, attack, EPSILON)
    if there("torchattacks"):
        options = {"eps": EPSILON, "alpha": step, "steps": STEPS}
        runs |= by_torchattacks(setting, "PGD", **options)
    if there("art"):
        options = {"eps": EPSILON, "eps_step": step, "max_iter": STEPS}
        options |= {"num_random_init": 1, "verbose": False}
        runs |= by_art(setting, "ProjectedGradientDescentPyTorch", **options)
    return runs


def eight_epsilons(setting: Setting) -> dict[str, Callable]:
    """PGD at eight epsilons; who is fooled at the largest counts."""
    budget = budgets.pgd(num_steps=STEPS)
    runs = by_harness(setting, budget, lambda c: c.loss, EPSILONS)
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=STEPS)
        model = foolbox.JAXModel(jax.jit(setting.classifier.scores), bounds=(0, 1))

        def by_epsilon():
            images, _, _ = attack(model, setting.x, setting.y, epsilons=EPSILONS)
            return images[-1].block_until_ready()

        runs["Foolbox, JAX"] = by_epsilon
    return runs


def apgd(setting: Setting) -> dict[str, Callable]:
    """A hundred steps along cross-entropy, one start."""
    runs = {
        "attacks.apgd": ours(
            setting,
            lambda c, x, y: attacks.apgd(
                c.loss, x, y, epsilon=EPSILON, key=jax.random.key(0)
            ),
        ),
        "101 input gradients": floor(setting, 101),
    }
    if there("torchattacks"):
        runs |= by_torchattacks(setting, "APGD", eps=EPSILON, steps=100)
    if there("art"):
        options = {"eps": EPSILON, "eps_step": 2 * EPSILON, "max_iter": 100}
        options |= {"nb_random_init": 1, "verbose": False}
        loss = "cross_entropy"
        attack = "AutoProjectedGradientDescent"
        runs |= by_art(setting, attack, loss_type=loss, **options)
    return runs


def square(setting: Setting) -> dict[str, Callable]:
    """Two hundred queries; the first alone goes on with images that are fooled."""
    runs = {
        "attacks.square": ours(
            setting,
            lambda c, x, y: attacks.square(
                c.margin,
                x,
                y,
                epsilon=EPSILON,
                key=jax.random.key(0),
                num_steps=QUERIES,
            ),
        )
    }
    budget = budgets.square(num_steps=QUERIES)
    runs |= by_harness(setting, budget, lambda c: c.margin, [EPSILON])
    if there("torchattacks"):
        options = {"eps": EPSILON, "n_queries": QUERIES}
        runs |= by_torchattacks(setting, "Square", **options)
    if there("art"):
        options = {"eps": EPSILON, "max_iter": QUERIES, "verbose": False}
        runs |= by_art(setting, "SquareAttack", **options)
    return runs


def carlini_wagner(setting: Setting) -> dict[str, Callable]:
    """Three searches of fifty steps; Foolbox's schedule of the constant is ours."""
    steps = SEARCHES * SEARCH_STEPS
    runs = {
        "attacks.carlini_wagner": ours(
            setting,
            lambda c, x, y: attacks.carlini_wagner(
                c.scores,
                x,
                y,
                num_steps=SEARCH_STEPS,
                num_searches=SEARCHES,
                initial_constant=1.0,
                abort_early=False,
            ),
        ),
        f"{steps} input gradients": floor(setting, steps),
    }
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=SEARCHES,
            steps=SEARCH_STEPS,
            initial_const=1.0,
            abort_early=False,
        )
        runs |= by_foolbox(setting, attack, None)
    return runs


def ddn(setting: Setting) -> dict[str, Callable]:
    """A hundred steps."""
    runs = {
        "attacks.ddn": ours(
            setting, lambda c, x, y: attacks.ddn(c.loss, c.scores, x, y)
        ),
        "100 input gradients": floor(setting, 100),
    }
    if there("foolbox"):
        import foolbox

        runs |= by_foolbox(setting, foolbox.attacks.DDNAttack(steps=100), None)
    return runs


CASES = {
    "FGSM": fgsm,
    f"PGD-{STEPS}": pgd,
    f"PGD-{STEPS} at 8 epsilons": eight_epsilons,
    "APGD-100": apgd,
    f"Square-{QUERIES}": square,
    f"C&W {SEARCHES} x {SEARCH_STEPS}": carlini_wagner,
    "DDN-100": ddn,
}
NETS = {"cnn": (small, 64), "resnet": (residual, 32)}


def main():
    """Times all attacks on both nets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of all that is timed")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--images", type=int, help="that each attack gets (default: 64, ResNet-20: 32)"
    )
    add_output(parser)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # Foolbox imports what SciPy deprecates.
    settings = []
    for net in args.nets:
        make, number = NETS[net]
        settings.append(make(args.images or number))
    rows = []
    for setting, case in itertools.product(settings, args.cases):
        timed = Contestants(setting)
        for name, run in CASES[case](setting).items():
            timed.add(name, run)
        rows += timed.rows(case, args.rounds)
        report("peers", rows, args)
    for row in rows:
        print(f"{row['case']}, {row['contestant']}: {100 * row['fooled']:.1f} % fooled")


if __name__ == "__main__":
    main()
