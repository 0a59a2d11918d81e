"""Names of files for classes of any name."""

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["file_stems"]

_LONGEST = 40


def file_stems(class_names: Sequence[str]) -> list[str]:
    """A file name without suffix for each class, close to the class's name.

    Letters, digits, spaces and `_ . - ( ) ,` stay; a name is cut after 40 characters.
    If two come out alike, or none is left of one, all get their class id in front.

    Guarantees: they are different even where case does not count, and none is hidden or
    leads to another folder.

    >>> file_stems(["cat", "aquarium fish", "either/or"])
    ['cat', 'aquarium fish', 'either_or']
    >>> file_stems(["a", "A", "/"])
    ['0 a', '1 A', '2']
    """
    stems = [_cleaned(name) for name in class_names]
    if "" in stems or len({stem.casefold() for stem in stems}) < len(stems):
        return [f"{i} {stem}".rstrip() for i, stem in enumerate(stems)]
    return stems


def _cleaned(name: str) -> str:
    kept = re.sub(r"[^\w .,()-]", "_", unicodedata.normalize("NFC", name))
    kept = kept[:_LONGEST].strip(" .")
    return kept if re.search(r"[^_]", kept) else ""
