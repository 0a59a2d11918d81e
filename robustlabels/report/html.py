"""HTML from values: whatever is not HTML already is escaped on its way in."""

import html
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterable
from typing import Any

__all__ = ["Html", "breakable", "element", "href", "joined"]

_VOID = {"img", "br", "wbr"}


class Html(str):
    """Text that is HTML already."""


def joined(*content: Any) -> Html:
    """Text, HTML, and lists of both as one piece of HTML; None is nothing.

    >>> joined("a < b", None, [Html("<br>"), "c"])
    'a &lt; b<br>c'
    """
    parts: list[str] = []
    for part in content:
        if isinstance(part, Html):
            parts.append(part)
        elif isinstance(part, Iterable) and not isinstance(part, str):
            parts.append(joined(*part))
        elif part is not None:
            parts.append(html.escape(str(part)))
    return Html("".join(parts))


def element(name: str, *content: Any, **attributes: Any) -> Html:
    """An element with its attributes and what it holds.

    Args:
      name: of the element.
      *content: as in `joined`.
      **attributes: `class_` is class, `aria_label` is aria-label; None and False leave
        an attribute out.

    >>> element("td", "<b>", class_="best", colspan=2, hidden=None)
    '<td class="best" colspan="2">&lt;b&gt;</td>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(*content)}</{name}>")


def breakable(text: str) -> Html:
    """A long name that may go on in the next line between its parts.

    >>> breakable("training.num_epochs=5")
    'training.<wbr>num_<wbr>epochs=<wbr>5'
    """
    parts = re.split(r"(?<=[.,/=_-])(?=[A-Za-z])|(?<=[,/=])(?=\d)", text)
    return Html("<wbr>".join(map(joined, parts)))


def href(target: pathlib.Path, page: pathlib.Path) -> str:
    """The address of a file, relative to the page.

    >>> href(pathlib.Path("runs/a b/config.json"), pathlib.Path("out/report.html"))
    '../runs/a%20b/config.json'
    """
    relative = os.path.relpath(os.path.abspath(target), os.path.abspath(page.parent))
    return urllib.parse.quote(pathlib.PurePath(relative).as_posix())
