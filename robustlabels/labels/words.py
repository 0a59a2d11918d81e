"""Labels from language: vectors of the words in a class's name."""

import gzip
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from robustlabels.labels.codebooks import Codebook, check_codebook, rescale

__all__ = ["bert", "matrix_of_tokens", "without_outliers", "word_vectors"]

_TOKENS = 3  # [CLS], the name in one piece, [SEP]


def word_vectors(
    class_names: Sequence[str], path: str | Path, *, rescaled: bool = True
) -> Float32[np.ndarray, "classes dims"]:
    """The vector of each class's name, Chen et al. (2021), appendix (GloVe).

    A name of several words, divided by spaces, underscores or hyphens, has their mean.
    Words are looked up in lower case. The file is read line by line, up to the last
    word that is needed.

    Args:
      class_names: at least 2, in the order of the class ids.
      path: text of a word and its numbers a line, as GloVe's; or with word2vec's line
        of two numbers before them; or that as .gz.
      rescaled: whether all numbers are stretched to [0, 80]; the published ones are
        not.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for a damaged line; if words are missing, which are all listed; if two
        classes have the same vector.

    >>> word_vectors(["cat", "dog"], "glove.6B.50d.txt")
    Traceback (most recent call last):
    FileNotFoundError: path=glove.6B.50d.txt: there is no such file.
    """
    names = [re.findall(r"[^\s_-]+", name.lower()) for name in class_names]
    vectors = _looked_up({word for words in names for word in words}, Path(path))
    missing = [
        name
        for name, words in zip(class_names, names, strict=True)
        if not words or not all(word in vectors for word in words)
    ]
    if missing:
        absent = sorted({w for words in names for w in words if w not in vectors})
        raise ValueError(
            f"path={path} has no vector for the words {', '.join(absent) or '(none)'} "
            f"of the classes {', '.join(map(repr, missing))}. Rename these classes, or "
            "use vectors of more words."
        )
    means = np.array([np.mean([vectors[w] for w in words], axis=0) for words in names])
    return _finished(means, rescaled=rescaled)


def bert(
    class_names: Sequence[str], path: str | Path, *, rescaled: bool = True
) -> Float32[np.ndarray, "classes rows columns"]:
    """What BERT makes of each class's name, Chen et al. (2021), appendix.

    The last hidden vectors of the first three tokens ([CLS], a name of one piece and
    [SEP]) become the matrix that is closest to square: 48 by 48 of three times 768.
    Entries beyond the mean and twice the standard deviation are zero.

    Args:
      class_names: at least 2, in the order of the class ids; underscores are read as
        spaces.
      path: folder of a model and its tokenizer, as Hugging Face's `save_pretrained`
        leaves them. Nothing is downloaded.
      rescaled: whether all entries are stretched to [0, 80]; the published ones for
        CIFAR-10 are not.

    Raises:
      ImportError: without the extra `words`.
      FileNotFoundError: if there is no such folder.
      ValueError: for a name without a token; if two classes have the same label.

    >>> bert(["cat", "dog"], "bert-base-uncased")
    Traceback (most recent call last):
    FileNotFoundError: path=bert-base-uncased: there is no such folder. Save a model \
there with save_pretrained.
    """
    if not Path(path).expanduser().is_dir():
        raise FileNotFoundError(
            f"path={path}: there is no such folder. Save a model there with "
            "save_pretrained."
        )
    tokens = _last_hidden(class_names, str(Path(path).expanduser()))
    labels = np.array(
        [
            matrix_of_tokens(vectors, name=name)
            for name, vectors in zip(class_names, tokens, strict=True)
        ]
    )
    return _finished(without_outliers(labels), rescaled=rescaled)


def matrix_of_tokens(
    vectors: Float[np.ndarray, "tokens hidden"], *, name: str
) -> Float[np.ndarray, "rows columns"]:
    """The first three vectors, one after another, as the matrix closest to square.

    Args:
      vectors: of the tokens of one class.
      name: of that class.

    Raises:
      ValueError: for fewer than three.

    >>> matrix_of_tokens(np.ones((4, 768)), name="cat").shape
    (48, 48)
    """
    if len(vectors) < _TOKENS:
        raise ValueError(f"class {name!r} has no word that BERT reads. Rename it.")
    flat = vectors[:_TOKENS].ravel()
    rows = next(n for n in range(math.isqrt(flat.size), 0, -1) if flat.size % n == 0)
    return flat.reshape(rows, -1)


def without_outliers(
    labels: Float[np.ndarray, " classes *cells"],
) -> Float[np.ndarray, " classes *cells"]:
    """Zero for all entries beyond the mean and twice the standard deviation.

    >>> print(without_outliers(np.array([[1.0, -1, 1, -1], [1, -1, 1, 9]])))
    [[ 1. -1.  1. -1.]
     [ 1. -1.  1.  0.]]
    """
    return np.where(abs(labels) > labels.mean() + 2 * labels.std(), 0.0, labels)


def _finished(labels: np.ndarray, *, rescaled: bool) -> Codebook:
    labels = check_codebook(labels, num_classes=len(labels))
    return rescale(labels) if rescaled else labels


def _looked_up(words: set[str], path: Path) -> dict[str, np.ndarray]:
    file = path.expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"path={path}: there is no such file.")
    opened = gzip.open if file.suffix == ".gz" else open
    found: dict[str, np.ndarray] = {}
    with opened(file, "rt", encoding="utf-8", errors="replace") as lines:
        for word, vector in _vectors(lines, words, path):
            found.setdefault(word, vector)
            if len(found) == len(words):
                break
    return found


def _vectors(
    lines: Iterable[str], words: set[str], path: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """Words with their vectors; a word may itself have spaces, as some of GloVe's."""
    dims = 0
    for number, line in enumerate(lines, start=1):
        if number == 1 and re.fullmatch(r"\d+ \d+\s*", line):
            dims = int(line.split()[1])
            continue
        dims = dims or line.count(" ")
        word, *numbers = line.rstrip().rsplit(" ", dims)
        try:
            if len(numbers) != dims or not dims:
                raise ValueError(f"it has {len(numbers)} numbers, not {dims}")
            if word in words:
                yield word, np.array(numbers, np.float32)
        except ValueError as error:
            raise ValueError(
                f"line {number} of {path} is no word with its vector ({error}). "
                "Download the file again."
            ) from error


def _last_hidden(class_names: Sequence[str], path: str) -> Iterator[np.ndarray]:
    try:
        import torch  # pyrefly: ignore[missing-import]
        import transformers  # pyrefly: ignore[missing-import]
    except ImportError as error:
        raise ImportError(
            "transformers or torch is missing, which run BERT. Run "
            "pip install 'robustlabels[words]'."
        ) from error
    local = {"local_files_only": True}
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **local)
    model: Any = transformers.AutoModel.from_pretrained(path, **local).eval()
    for name in class_names:
        tokens = tokenizer(name.replace("_", " "), return_tensors="pt")
        with torch.no_grad():
            yield model(**tokens).last_hidden_state[0].numpy()
