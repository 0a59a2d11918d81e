"""The table, letter by letter."""

import dataclasses

from robustlabels.evaluation import (
    Finding,
    Record,
    read_records,
    render_table,
    write_record,
)

CLEAN = Record(
    classifier={
        "data": "digits",
        "encoder": "MLP",
        "head": "Prototypes",
        "objective": "glvq",
        "seed": 0,
        "epoch": 7,
    },
    split="test",
    attack="none",
    parameters={},
    loss="none",
    epsilon="0",
    n=360,
    value=0.9,
    low=0.8,
    high=0.95,
    zero_gradients=None,
    fallen=None,
    seconds=1.0,
    provenance={},
)


def row(attack, loss, zero_gradients=0.0, **cells):
    return [
        dataclasses.replace(
            CLEAN,
            attack=attack,
            loss=loss,
            epsilon=epsilon,
            value=value,
            low=value / 2,
            high=(1 + value) / 2,
            zero_gradients=zero_gradients,
        )
        for epsilon, value in cells.items()
    ]


RECORDS = [
    CLEAN,
    *row("fgsm", "own", 0.125, **{"8/255": 0.5, "0.1": 0.25}),
    *row("fgsm", "margin", **{"8/255": 0.75, "0.1": 0.0}),
    *row("fgsm", "worst", 0.125, **{"8/255": 0.5, "0.1": 0.0}),
    *row("gaussian", "none", None, **{"8/255": 1.0, "0.1": 0.875}),
]
HEADLINE = (
    "digits / MLP / Prototypes / glvq: test accuracy 90.0 [80.0, 95.0] %, "
    "error 10.00 [5.00, 20.00] % on 360 examples (95 % intervals)"
)
TABLE = """
accuracy under  loss    epsilon 8/255         epsilon 0.1
--------------------------------------------------------------------
fgsm            own     50.0 [25.0, 75.0]     25.0 [12.5, 62.5]
fgsm            margin  75.0 [37.5, 87.5]     0.0 [0.0, 50.0]
fgsm            worst   50.0 [25.0, 75.0]     0.0 [0.0, 50.0]
gaussian                100.0 [50.0, 100.0]   87.5 [43.8, 93.8]
Beware: 12.5 % of the gradients of the own loss are exactly zero, and fgsm cannot move \
these examples."""


def squeezed(text):
    return [line.split() for line in text.splitlines() if not line.startswith("---")]


def test_all_of_a_complete_set_is_shown():
    assert squeezed(render_table(RECORDS)) == squeezed(HEADLINE + "\n" + TABLE)


def test_columns_stand_in_line_under_their_titles():
    lines = render_table(RECORDS).splitlines()
    title = next(i for i, line in enumerate(lines) if "accuracy under" in line)
    assert set(lines[title + 1]) == {"-"}
    assert len(lines[title + 1]) >= max(map(len, lines[title : title + 6]))
    starts = [lines[title].index(word) for word in ("loss", "epsilon 8", "epsilon 0")]
    for line in lines[title + 2 : title + 6]:
        assert all(line[start - 2 : start] == "  " for start in starts)
        assert all(line[start].isdigit() for start in starts[1:])
    assert not any(line.endswith(" ") for line in lines)


def test_a_cell_that_is_missing_stays_empty():
    most = [r for r in RECORDS if (r.loss, r.epsilon) != ("margin", "8/255")]
    lines = render_table(most).splitlines()
    line = next(line for line in lines if "margin" in line)
    assert line.split() == ["fgsm", "margin", "0.0", "[0.0,", "50.0]"]
    title = next(line for line in lines if "accuracy under" in line)
    assert line.index("0.0") == title.index("epsilon 0.1")


def test_epsilons_grow_in_whatever_order_the_records_come(tmp_path):
    records = row("fgsm", "own", **{"8/255": 0.5, "0.1": 0.25, "2": 0.0, "10": 0.0})
    for record in records[::-1]:
        write_record(tmp_path, record)
    for some in (records, records[::-1], read_records(tmp_path)):
        title = next(
            x for x in render_table(some).splitlines() if "accuracy under" in x
        )
        assert title.split()[3::2] == ["epsilon"] * 4
        assert title.split()[4::2] == ["8/255", "0.1", "2", "10"]


def test_only_rows_with_zero_gradients_are_warned_of():
    text = render_table(RECORDS)
    assert text.count("Beware") == 1
    assert "12.5 % of the gradients of the own loss" in text
    none = [dataclasses.replace(r, zero_gradients=0.0) for r in RECORDS]
    assert "Beware" not in render_table(none)


def test_clean_records_alone_are_a_line():
    assert render_table([CLEAN]) == HEADLINE
    assert render_table(iter([CLEAN])) == HEADLINE


def test_no_records_are_no_text():
    assert render_table([]) == ""


def of_seed(records, seed, change):
    return [
        dataclasses.replace(
            r, classifier={**r.classifier, "seed": seed}, value=r.value - change
        )
        for r in records
    ]


def test_several_seeds_are_a_mean_and_a_standard_deviation():
    many = [
        r
        for seed, change in ((2, 0.06), (0, 0.0), (1, 0.03))
        for r in of_seed([CLEAN, *row("fgsm", "own", **{"0.1": 0.5})], seed, change)
    ]
    lines = render_table(many).splitlines()
    assert lines[0] == (
        "digits / MLP / Prototypes / glvq: test accuracy 87.0 ± 3.0 %, "
        "error 13.00 ± 3.00 % on 360 examples (mean ± standard deviation over 3 seeds)"
    )
    assert lines[-1].split() == ["fgsm", "own", "47.0", "±", "3.0"]
    assert render_table(many[::-1]) == render_table(many)


def test_a_cell_without_some_seeds_says_so():
    full = [CLEAN, *row("fgsm", "own", **{"0.1": 0.5, "0.2": 0.25})]
    several = full + of_seed(full, 1, 0.1) + of_seed(full[:2], 2, 0.2)
    lines = render_table(several).splitlines()
    assert "40.0 ± 10.0 " in lines[-1]
    assert lines[-1].endswith("20.0 ± 7.1 (2 of 3 seeds)")
    alone = full + of_seed(full[:2], 1, 0.1)
    assert render_table(alone).splitlines()[-1].endswith("25.0 (1 of 2 seeds)")


def test_zero_gradients_are_averaged_over_seeds():
    one, other = (row("fgsm", "own", share, **{"0.1": 0.5}) for share in (0.1, 0.3))
    text = render_table([*one, *of_seed(other, 1, 0.0)])
    assert "Beware: 20.0 % of the gradients of the own loss" in text


def clean_finding(seed, scale):
    values = {
        "expected_calibration_error": 0.02 * scale,
        "negative_log_likelihood": 0.25 * scale,
        "brier_score": 0.125 * scale,
        "top_k": {"1": 0.9, "3": 0.95 / scale, "5": 0.5},
    }
    rest = {"split": "test", "parameters": {}, "n": 360, "images": None}
    who = {**CLEAN.classifier, "seed": seed}
    return Finding("clean", who, values=values, seconds=1.0, provenance={}, **rest)


def test_calibration_stands_below_the_accuracy():
    lines = render_table([*RECORDS, clean_finding(0, 1.0)]).splitlines()
    assert lines[0] == HEADLINE
    assert (
        lines[1] == "ECE 2.00 %, NLL 0.2500, Brier 0.1250, top 3 95.0 %, top 5 50.0 %"
    )


def test_calibration_says_on_how_many_if_fewer_are_attacked():
    more = dataclasses.replace(clean_finding(0, 1.0), n=10_000)
    lines = render_table([*RECORDS, more]).splitlines()
    assert lines[0] == HEADLINE
    assert lines[1].endswith("top 5 50.0 %, on 10000 examples")


def test_calibration_of_several_seeds_is_a_mean_with_a_deviation():
    findings = [clean_finding(0, 1.0), clean_finding(1, 2.0)]
    other = dataclasses.replace(findings[0], kind="noise", values={})
    line = render_table([CLEAN, *findings, other]).splitlines()[1]
    deviation = 0.25 / 2**0.5
    assert line.startswith("ECE 3.00 ± 1.41 %, ")
    assert f"NLL 0.3750 ± {deviation:.4f}, " in line


def test_the_auroc_on_left_out_classes_stands_beside_the_calibration():
    findings = [clean_finding(0, 1.0), clean_finding(1, 1.0)]
    left_out = [
        dataclasses.replace(each, kind="left_out", values={"auroc": auroc})
        for each, auroc in zip(findings, (0.875, 0.9), strict=True)
    ]
    one = render_table([CLEAN, findings[0], left_out[0]]).splitlines()[1]
    assert one.endswith(", top 5 50.0 %, left-out AUROC 0.8750")
    several = render_table([CLEAN, *findings, *left_out]).splitlines()[1]
    assert several.endswith(f", left-out AUROC 0.8875 ± {0.025 / 2**0.5:.4f}")
