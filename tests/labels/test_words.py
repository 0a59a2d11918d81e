"""Labels from vectors of words, and what becomes of BERT's tokens."""

import gzip
import sys

import numpy as np
import pytest

from robustlabels.labels import bert, word_vectors
from robustlabels.labels.words import matrix_of_tokens, without_outliers

LINES = {
    "the": [1, 2, 3],
    "cat": [0.5, -1, 2],
    "fish": [1, 1, 1],
    "gold": [-3, 0, 5e-1],
    ". . .": [7, 7, 7],
    "café": [4, 0, 0],
}


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.txt"
    lines = [" ".join([word, *map(str, row)]) for word, row in LINES.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_names_have_the_mean_of_their_words(vectors):
    names = ["Cat", "gold_fish", "gold-cat", "The  cat fish", "Café"]
    found = word_vectors(names, str(vectors), rescaled=False)
    rows = {word: np.array(row) for word, row in LINES.items()}
    expected = [
        rows["cat"],
        (rows["gold"] + rows["fish"]) / 2,
        (rows["gold"] + rows["cat"]) / 2,
        (rows["the"] + rows["cat"] + rows["fish"]) / 3,
        rows["café"],
    ]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    stretched = word_vectors(names, vectors)
    assert (stretched.min(), stretched.max()) == (0, 80)


@pytest.mark.parametrize("header", ["", "6 3\n"])
@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
def test_packed_files_and_headers(vectors, header, name):
    path = vectors.with_name(name)
    data = (header + vectors.read_text(encoding="utf-8")).encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    np.testing.assert_array_equal(
        word_vectors(["cat", "fish"], path), word_vectors(["cat", "fish"], vectors)
    )


def test_no_more_is_read_than_is_needed(vectors):
    vectors.write_text(vectors.read_text(encoding="utf-8") + "broken\n", "utf-8")
    assert word_vectors(["the", "cat"], vectors).shape == (2, 3)
    with pytest.raises(ValueError, match=r"line 7 of .*no word .*it has 0 numbers"):
        word_vectors(["the", "dog"], vectors)


def test_all_words_that_are_missing_are_listed(vectors):
    with pytest.raises(ValueError, match=r"words dog, red of .*'red fish', 'dog', '_'"):
        word_vectors(["cat", "red fish", "dog", "_"], vectors)


@pytest.mark.parametrize("line", ["dog 1 2", "dog 1 x 3", "dog"])
def test_damaged_lines_are_named(vectors, line):
    vectors.write_text(f"the 1 2 3\n{line}\ncat 1 1 1\n")
    with pytest.raises(ValueError, match=r"line 2 of .* is no word with its vector"):
        word_vectors(["cat", "dog"], vectors)


def test_files_and_vectors_that_are_none(vectors, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        word_vectors(["cat", "dog"], tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="classes 0 and 1 are equal"):
        word_vectors(["gold fish", "fish_gold"], vectors)
    vectors.write_text("cat nan 1\nfish 1 2\n")
    with pytest.raises(ValueError, match="class 0 has NaN"):
        word_vectors(["cat", "fish"], vectors)


@pytest.mark.parametrize(
    ("hidden", "shape"), [(768, (48, 48)), (1024, (48, 64)), (7, (3, 7)), (1, (1, 3))]
)
def test_three_tokens_become_a_matrix(hidden, shape):
    tokens = np.random.default_rng(0).normal(size=(5, hidden))
    found = matrix_of_tokens(tokens, name="cat")
    assert found.shape == shape
    np.testing.assert_array_equal(found.ravel(), np.concatenate(tokens[:3]))


def test_a_name_without_a_token():
    with pytest.raises(ValueError, match="class '' has no word that BERT reads"):
        matrix_of_tokens(np.ones((2, 768)), name="")


def test_outliers_are_zero():
    labels = np.random.default_rng(0).normal(0.1, 1, (3, 20, 20))
    labels[1, 3, 4] = -50
    limit = sum(labels.flat) / 1200
    limit += 2 * np.sqrt(sum((v - labels.mean()) ** 2 for v in labels.flat) / 1200)
    found = without_outliers(labels)
    for value, kept in zip(labels.flat, found.flat, strict=True):
        assert kept == (0 if abs(value) > limit else value)


def test_the_published_labels_of_bert_have_none(released):
    labels = np.load(released / "cifar10_bert.npy")
    assert labels.shape == (10, *matrix_of_tokens(np.ones((3, 768)), name="").shape)
    largest = abs(labels).max(axis=(1, 2))
    assert largest.min() > 0.97 * largest.max()  # one limit for all labels
    assert (labels == 0).sum() > 400


def test_a_missing_folder_and_a_missing_extra(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="Save a model there"):
        bert(["cat", "dog"], str(tmp_path / "nowhere"))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'robustlabels\[words\]'"):
        bert(["cat", "dog"], str(tmp_path))


def test_a_small_bert_from_a_folder(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is in the extra `words`")
    transformers = pytest.importorskip("transformers", reason="in the extra `words`")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "red", "fox"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    found = bert(["cat", "red_fox"], tmp_path, rescaled=False)
    with torch.no_grad():
        rows = [
            model(torch.tensor([ids])).last_hidden_state[0, :3].numpy().ravel()
            for ids in ([2, 5, 3], [2, 7, 8, 3])
        ]
    expected = without_outliers(np.array(rows)).reshape(2, 6, 6)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    stretched = bert(["cat", "red_fox"], tmp_path)
    assert (stretched.min(), stretched.max()) == (0, 80)
