"""What a comparison is written as: every figure is there, and marked if significant."""

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_tables import DIVERGED, NOTHING, OBJECTIVES, QUESTIONS, TIMES, large, small

from robustlabels.comparison.exports import (
    change,
    direction,
    from_json,
    missing,
    to_csv,
    to_json,
    to_markdown,
    to_text,
    written,
)
from robustlabels.comparison.table import Entry, Question, Table

names = st.lists(st.text(max_size=9), min_size=1, max_size=3, unique=True)
numbers = st.floats(allow_nan=False)
perhaps = st.none() | numbers
plain = st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=5)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3).map(tuple))
curves = st.dictionaries(st.text(max_size=5), numbers, max_size=3)
found = st.builds(
    Entry,
    value=perhaps,
    seeds=st.lists(numbers, max_size=3).map(tuple),
    difference=perhaps,
    low=perhaps,
    high=perhaps,
    p=perhaps,
    significant=st.booleans(),
    missing=st.text(max_size=9),
    folder=st.text(max_size=9),
)


@st.composite
def tables(draw):
    objectives, asked = draw(names), draw(names)
    by_objective = {
        "entries": st.fixed_dictionaries(dict.fromkeys(asked, found)),
        "curves": curves,
        "shares": curves,
        "swapped": curves,
        "tuned": st.dictionaries(st.text(max_size=5), values, max_size=3),
        "hidden": st.lists(st.text(max_size=5), max_size=2).map(tuple),
    }
    fields = {
        field: draw(st.fixed_dictionaries(dict.fromkeys(objectives, of)))
        for field, of in by_objective.items()
    }
    questions = [
        Question(name, draw(st.booleans()), draw(st.text(max_size=2)), "", "attack")
        for name in asked
    ]
    return Table(
        data=draw(st.text()),
        reference=objectives[0],
        objectives=tuple(objectives),
        questions=tuple(questions),
        verdict=tuple(draw(names)),
        num_seeds=draw(st.integers(1, 9)),
        num_missing=draw(st.integers(0, 9)),
        **fields,
    )


@settings(deadline=None, max_examples=60, derandomize=True)
@given(table=tables())
def test_json_comes_back_as_it_was(table):
    back = from_json(to_json(table))
    assert back == table
    assert all(isinstance(question, Question) for question in back.questions)
    for of in back.entries.values():
        assert all(isinstance(entry, Entry) for entry in of.values())


@settings(deadline=None, max_examples=60, derandomize=True)
@given(table=tables())
def test_csv_holds_every_figure(table):
    lines = list(csv.DictReader(io.StringIO(to_csv(table), newline="")))
    pairs = [(o, q.name) for o in table.objectives for q in table.questions]
    assert [(line["objective"], line["question"]) for line in lines] == pairs
    for line, (objective, question) in zip(lines, pairs, strict=True):
        entry = table.entries[objective][question]
        for field in ("value", "difference", "low", "high", "p"):
            wanted = getattr(entry, field)
            assert line[field] == ("" if wanted is None else repr(wanted))
        seeds = tuple(float(seed) for seed in line["seeds"].split(";") if seed)
        assert seeds == entry.seeds
        assert line["significant"] == str(entry.significant)
        assert (line["missing"], line["folder"]) == (entry.missing, entry.folder)


def test_numbers_are_written_by_their_unit():
    accuracy, likelihood = QUESTIONS[0], QUESTIONS[7]
    assert written(0.9049, accuracy) == "90.5"
    assert written(0.9049, likelihood) == "0.905"
    worse = Entry(1.0, difference=-0.0123, low=-0.02, high=0.001)
    assert change(worse, accuracy) == "-1.2 [-2.0, +0.1]"
    assert change(worse, likelihood) == "-0.0123 [-0.0200, +0.00100]"
    assert change(Entry(1.0), accuracy) == ""
    assert [direction(q) for q in (accuracy, likelihood)] == ["↑ %", "↓"]
    assert direction(QUESTIONS[-1]) == "↓" + TIMES


def test_missing_cells_are_told_once_for_each_reason():
    assert missing(small()) == []
    partly, wholly = missing(large())
    assert partly == (
        "sng: not finished yet (accuracy, 1 % of the data; accuracy, 10 % of the data; "
        "accuracy, 20 % swapped; accuracy <b>|40 % swapped)"
    )
    assert wholly == f"bert: {DIVERGED} (all)"


def test_the_small_table_on_a_console():
    assert to_text(small()).splitlines()[:5] == [
        "           accuracy     NLL",
        "objective       ↑ %       ↓",
        "softmax        90.0   0.388",
        "glvq           95.0*  0.400",
        "",
    ]
    assert "*: differs from softmax" in to_text(small())


def test_a_wide_table_is_broken_into_blocks():
    table = large()
    text = to_text(table)
    *blocks, last = text.rstrip("\n").split("\n\n")
    assert len(blocks) > 2
    assert all(len(line) <= 100 for line in text.splitlines())
    shown = []
    for block in blocks:
        rows = block.splitlines()[-len(OBJECTIVES) :]
        side = max(map(len, OBJECTIVES))
        assert [row[:side].rstrip() for row in rows] == list(OBJECTIVES)
        shown.append([row[side:].split() for row in rows])
    for place, objective in enumerate(OBJECTIVES):
        cells = [cell for block in shown for cell in block[place]]
        assert cells == [
            written(entry.value, question) + "*" * entry.significant
            for question in QUESTIONS
            for entry in [table.entries[objective][question.name]]
        ]
    assert f"{NOTHING} bert: {DIVERGED} (all)" in " ".join(last.split())


def columns(line):
    """The cells of a line, as GitHub splits them."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_is_bold_where_significant_and_only_there():
    table = large()
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
    assert {len(columns(line)) for line in lines} == {1 + len(QUESTIONS)}
    for objective, line in zip(OBJECTIVES, lines[2:], strict=True):
        for question, cell in zip(QUESTIONS, columns(line)[1:], strict=True):
            entry = table.entries[objective][question.name]
            value = written(entry.value, question)
            bold = f"**{value}**" if entry.significant else value
            said = change(entry, question)
            assert cell == (f"{bold} ({said})" if said else bold)


def test_markdown_says_the_verdict_first_and_escapes_names():
    text = to_markdown(large())
    assert text.startswith("# 10 objectives on cifar10 \\<i\\>, 3 seeds\n\n- label")
    assert "- Nothing \\< nobody \\& \\|bert\\| has no \\*figures\\*." in text
    assert "| huber to speech \\| espeak-ng, 16 kHz \\<b\\> |" in text
    assert "- bert: diverged at step 840: lower the \\<learning\\>" in text
    assert "(all)" not in to_markdown(small())


@pytest.mark.parametrize("form", [to_text, to_markdown, to_csv, to_json])
def test_every_form_names_every_objective(form):
    text = form(small())
    assert all(name in text for name in ("softmax", "glvq", "accuracy", "NLL"))
