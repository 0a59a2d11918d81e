"""One run in its folder: begun, stopped, gone on with, and left alone when over."""

import json

import ml_collections
import pytest
from test_sweep import base

from robustlabels import evaluation, run
from robustlabels._stopping import Stopped
from robustlabels.config_file import override


def config(*flags):
    return override(base(), ["--config.training.num_epochs=4", *flags])


def facts(found):
    """What the records among all that was found say."""
    records = [each for each in found if isinstance(each, evaluation.Record)]
    return [(r.attack, r.loss, r.epsilon, r.value, r.low, r.high) for r in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run.train(config(), folder)


def test_a_run_returns_what_it_writes(whole):
    folder, found = whole
    assert {attack for attack, *_ in facts(found)} == {"none", "fgsm"}
    written = evaluation.read_records(folder)
    assert sorted(facts(written)) == sorted(facts(found))
    findings = [each for each in found if isinstance(each, evaluation.Finding)]
    written = evaluation.read_findings(folder)
    assert sorted(map(repr, written)) == sorted(map(repr, findings))
    assert run.is_over(folder)
    stored = json.loads((folder / "config.json").read_text())["config"]
    assert ml_collections.ConfigDict(stored).training.num_epochs == 4


def test_a_run_that_is_stopped_again_and_again_ends_as_one_that_was_not(
    whole, tmp_path
):
    folder, stops = tmp_path / "run", []
    while not run.is_over(folder):
        asked = []

        def stop(asked=asked):
            asked.append(None)
            return len(asked) > 1

        try:
            found = run.train(config(), folder, stop=stop)
        except Stopped as stopped:
            stops.append(str(stopped).split()[0])
    assert stops[0] == "training"
    assert len(stops) > 2
    assert facts(found) == facts(whole[1])


def test_a_finished_run_is_read(whole):
    folder, found = whole

    def asked():
        raise AssertionError("work was done")

    again = run.train(config(), folder, stop=asked)
    assert sorted(facts(again)) == sorted(facts(found))


def test_check_raises_for_another_config_and_writes_nothing(whole, tmp_path):
    run.check(config(), whole[0])
    with pytest.raises(ValueError, match=r"config\.seed: 0 there, 1 here"):
        run.check(config("--config.seed=1"), whole[0])
    run.check(config(), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_evaluate_needs_a_run_with_a_checkpoint(whole, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        run.evaluate(config(), tmp_path)
    (tmp_path / "config.json").write_bytes((whole[0] / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        run.evaluate(config(), tmp_path)


def test_evaluate_adds_records(whole):
    folder, found = whole
    more = run.evaluate(config("--config.evaluation.epsilons=0.1,0.3"), folder)
    assert {epsilon for _, _, epsilon, *_ in facts(more)} == {"0", "0.1", "0.3"}
    assert set(facts(found)) <= set(facts(evaluation.read_records(folder)))
