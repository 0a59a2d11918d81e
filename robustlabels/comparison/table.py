"""What a comparison found: a cell for each objective and question."""

from typing import Any, NamedTuple

__all__ = ["Entry", "Question", "Table"]


class Question(NamedTuple):
    """A column of the table.

    Attributes:
      name: what the table, the files and the verdict call it.
      higher_is_better: its direction.
      unit: "%" for shares, which are shown times 100; else what follows a number.
      meaning: a sentence for a person.
      group: "attack", "data", "noise" and so on: what is drawn and told together.
    """

    name: str
    higher_is_better: bool
    unit: str
    meaning: str
    group: str


class Entry(NamedTuple):
    """What one objective answers to one question.

    Attributes:
      value: mean over seeds; None where there is none.
      seeds: a value for each seed.
      difference: from the reference, paired over examples and seeds; None for the
        reference itself, and where nothing can be resampled.
      low: lower end of the 95 % interval of the difference.
      high: upper end.
      p: of no difference, by Holm's correction over the table.
      significant: whether the interval leaves out zero and p is below 0.05.
      missing: why there is no value; empty where there is one.
      folder: of the run behind it, relative to the comparison's.
    """

    value: float | None
    seeds: tuple[float, ...] = ()
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    significant: bool = False
    missing: str = ""
    folder: str = ""


class Table(NamedTuple):
    """All that a comparison says, as plain numbers and text.

    Attributes:
      data: name of the data set.
      reference: the objective that others are compared with.
      objectives: in the order of the config, the reference first.
      questions: the columns.
      entries: by objective and by the name of a question.
      curves: by objective, the accuracy under the worst attack at each epsilon as
        written, "0" for none; means over seeds.
      shares: by objective, the accuracy by share of the training images.
      swapped: by objective, the accuracy by share of swapped labels.
      tuned: by objective, what was chosen on validation data, and at what cost.
      hidden: by objective, the signs of a hidden gradient that were found.
      verdict: sentences, in the order in which they are to be read.
      num_seeds: how many replicas each cell has.
      num_missing: cells that are not there yet.
    """

    data: str
    reference: str
    objectives: tuple[str, ...]
    questions: tuple[Question, ...]
    entries: dict[str, dict[str, Entry]]
    curves: dict[str, dict[str, float]]
    shares: dict[str, dict[str, float]]
    swapped: dict[str, dict[str, float]]
    tuned: dict[str, dict[str, Any]]
    hidden: dict[str, tuple[str, ...]]
    verdict: tuple[str, ...]
    num_seeds: int
    num_missing: int

    def better(self, objective: str, question: Question) -> bool | None:
        """Whether a difference is for the better; None where nothing is known of it."""
        difference = self.entries[objective][question.name].difference
        if difference is None or difference == 0:
            return None
        return (difference > 0) == question.higher_is_better
