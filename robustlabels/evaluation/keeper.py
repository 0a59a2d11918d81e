"""What a folder holds already is not measured again."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from robustlabels.evaluation.records import Finding, read_findings, write_finding


class Keeper:
    """Findings that a folder holds already, and those that it gets.

    Args:
      folder: of a run; None holds and keeps nothing.
      split_name: the split of the findings.
    """

    def __init__(self, folder: str | os.PathLike | None, split_name: str):
        self._folder, self._split = folder, split_name
        self._known = [] if folder is None else read_findings(folder)

    def once(
        self,
        kind: str,
        identity: Mapping[str, Any],
        size: int,
        make: Callable[[], Any],
        **parameters: Any,
    ) -> Finding:
        """The finding as it was written before, or else as it is made and written now.

        Args:
          kind: of the finding.
          identity: of the classifier.
          size: number of examples.
          make: () -> finding, or finding and arrays.
          **parameters: among those of the finding.
        """
        wanted = (kind, dict(identity), self._split, size)
        for old in self._known:
            same = (old.kind, old.classifier, old.split, old.n) == wanted
            if same and parameters.items() <= old.parameters.items():
                return old
        made = make()
        finding, arrays = made if isinstance(made, tuple) else (made, None)
        if self._folder is None:
            return finding
        return write_finding(self._folder, finding, arrays)
