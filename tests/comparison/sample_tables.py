"""Tables of comparisons by hand: a large one with holes and odd names, a small one."""

import numpy as np

from robustlabels.comparison.table import Entry, Question, Table

OBJECTIVES = (
    "softmax",
    "label_smoothing",
    "huber to speech | espeak-ng, 16 kHz <b>",
    "generalized_learning_vector_quantization",
    "sng",
    "sg_mcel",
    "forward_corrected_cross_entropy",
    "words *of* GloVe",
    "random Gaussian compositions & more",
    "bert",
)
NOTHING = "\N{EN DASH}"
TIMES = " \N{MULTIPLICATION SIGN}"
QUESTIONS = (
    Question("accuracy", True, "%", "Share of images decided correctly.", "clean"),
    Question("robust area", True, "%", "Area under the curve.", "attack"),
    Question("robust at 2/255", True, "%", "Share that stands at 2/255.", "attack"),
    Question("robust at 8/255", True, "%", "Share that stands at 8/255.", "attack"),
    Question("minimum distortion", True, "", "Mean distance in L2.", "attack"),
    Question("corrupted", True, "%", "Under 15 common corruptions.", "shift"),
    Question("ECE", False, "%", "How far confidence is from accuracy.", "confidence"),
    Question("NLL", False, "", "Negative log likelihood.", "confidence"),
    Question("AUROC, noise", True, "%", "Test images against noise.", "confidence"),
    Question("AUROC, left-out classes", True, "%", 'Known "or" not.', "confidence"),
    Question("accuracy, 1 % of the data", True, "%", "After as many steps.", "data"),
    Question("accuracy, 10 % of the data", True, "%", "After as many steps.", "data"),
    Question("accuracy, 20 % swapped", True, "%", "With labels swapped.", "noise"),
    Question("accuracy <b>|40 % swapped", True, "%", "With labels < 1.", "noise"),
    Question("training time", False, TIMES, "To the reference's.", "cost"),
    Question("parameters", False, TIMES, "To the reference's.", "cost"),
)
DIVERGED = "diverged at step 840: lower the <learning> rate"


def value_of(rng, question):
    if question.unit == "%":
        return rng.uniform(0.3, 0.86)
    return rng.uniform(0.8, 12) if question.group == "cost" else rng.uniform(0.01, 4)


def entry_of(rng, question, *, place, reference):
    value = value_of(rng, question)
    if question.group == "cost":
        value = 1.0 if place == 0 else value
        return Entry(value, (value,), folder=f"run {place}/all")
    value = reference * rng.uniform(0.8, 1.15) if place else reference
    seeds = (value - 0.002, value, value + 0.002)
    found = Entry(float(np.mean(seeds)), seeds, folder=f"run {place}/{question.group}")
    if place == 0:
        return found
    difference = value - reference
    reach = abs(difference) * float(rng.choice([0.3, 1.6]))
    return found._replace(
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        p=0.004 if reach < abs(difference) else 0.4,
        significant=bool(reach < abs(difference)),
    )


def large():
    """Ten objectives and sixteen questions; an objective and some cells are missing."""
    rng = np.random.default_rng(0)
    references = {q.name: value_of(rng, q) for q in QUESTIONS}
    entries = {
        name: {
            q.name: entry_of(rng, q, place=place, reference=references[q.name])
            for q in QUESTIONS
        }
        for place, name in enumerate(OBJECTIVES)
    }
    for question in QUESTIONS[10:14]:
        entries["sng"][question.name] = Entry(None, missing="not finished yet")
    gone = {q.name: Entry(None, missing=DIVERGED) for q in QUESTIONS}
    entries["bert"] = gone

    def falling(*levels):
        """Accuracies along the levels, of all that did not diverge."""
        return {
            name: dict(
                zip(levels, sorted(rng.random(len(levels)).tolist())[::-1], strict=True)
            )
            for name in OBJECTIVES[:-1]
        }

    return Table(
        data="cifar10 <i>",
        reference="softmax",
        objectives=OBJECTIVES,
        questions=QUESTIONS,
        entries=entries,
        curves=falling("0", "2/255", "4/255", "8/255"),
        shares=falling("1", "0.1", "0.01"),
        swapped=falling("0", "0.2", "0.4"),
        tuned={
            "softmax": {"learning_rate.peak": "0.1", "runs": 3},
            "label_smoothing": {"objective.epsilon": 0.1, "runs": 9},
            "sng": {},
        },
        hidden={"softmax": (), "sng": ("targeted_stronger", "zero_gradients")},
        verdict=(
            "label_smoothing helps, compared with softmax: accuracy +1.2 points.",
            "Nothing < nobody & |bert| has no *figures*.",
        ),
        num_seeds=3,
        num_missing=5,
    )


def small():
    """Two objectives, two questions, nothing else."""
    questions = QUESTIONS[0], QUESTIONS[7]
    accuracy, likelihood = (question.name for question in questions)
    better = Entry(0.95, (0.94, 0.96), 0.05, 0.04, 0.06, 0.001, True, folder="glvq-all")
    alike = Entry(0.4, (0.4,), 0.0123, -0.1, 0.2, 1.0, folder="glvq-all")
    return Table(
        data="digits",
        reference="softmax",
        objectives=("softmax", "glvq"),
        questions=questions,
        entries={
            "softmax": {
                accuracy: Entry(0.9, (0.9,), folder="softmax-all"),
                likelihood: Entry(0.3877, (0.3877,), folder="softmax-all"),
            },
            "glvq": {accuracy: better, likelihood: alike},
        },
        curves={},
        shares={"softmax": {"1": 0.9}},
        swapped={},
        tuned={"softmax": {}, "glvq": {}},
        hidden={},
        verdict=(
            "glvq helps, compared with softmax: accuracy +5.0 points [4.0, 6.0].",
        ),
        num_seeds=2,
        num_missing=0,
    )
