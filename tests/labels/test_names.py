"""File names for classes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.labels.names import file_stems


def test_plain_names_stay():
    names = ["cat", "aquarium fish", "aquarium_fish", "T-shirt", "猫", "n01440764"]
    assert file_stems(names) == names


def test_names_that_no_file_can_have():
    assert file_stems(["a/b", "../x", "c:\\d\n"]) == ["a_b", "_x", "c__d_"]
    assert file_stems(["Cat", "cat", "?"]) == ["0 Cat", "1 cat", "2"]
    assert file_stems(["x" * 300 + "1", "x" * 300 + "2"])[1] == "1 " + "x" * 40


@settings(deadline=None, max_examples=200, derandomize=True)
@given(names=st.lists(st.text(max_size=50), min_size=1, max_size=5))
def test_all_are_different_and_fit_a_folder(names):
    stems = file_stems(names)
    assert len({stem.casefold() for stem in stems}) == len(names)
    for stem in stems:
        assert not set("/\\\0\n") & set(stem)
        assert not stem.startswith(".")
        assert 0 < len(stem.encode()) <= 200
