"""The elements of a page, and their rendering as self-contained HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nnrec.evaluation.metrics.legend import Meaning


@dataclass
class Cell:
    """A cell of a table.

    Attributes:
        text: its content.
        number: the sort key; None = its text.
        best: whether it holds the best value of its kind.
        note: small print below the text.
        link: target of a link on the text; "" = none.
        series: number of the entry's colour, from 1; 0 = none.
    """

    text: str
    number: float | None = None
    best: bool = False
    note: str = ""
    link: str = ""
    series: int = 0


@dataclass
class Table:
    """Rows of cells; the first cell names the row. `folded`: only the caption shows at first."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    kind: str = "table"


@dataclass
class Plot:
    """An SVG element, its description in words, its caption, and whether it takes the whole width."""

    svg: str
    alt: str
    caption: str
    wide: bool = False
    kind: str = "plot"


@dataclass
class Listed:
    """A recommended or rated item."""

    title: str
    value: str = ""
    hit: bool = False


@dataclass
class Person:
    """One user: the history, the held-out items, and each model's list."""

    user_id: str
    about: str
    columns: list[tuple[str, str, list[Listed]]]


@dataclass
class People:
    """Users, or sessions (`what`), of which the reader selects one."""

    people: list[Person]
    what: str = "User"
    kind: str = "people"


@dataclass
class Text:
    """Folded preformatted text."""

    summary: str
    text: str
    kind: str = "text"


@dataclass
class Notes:
    """Remarks for the reader, one line each."""

    lines: Sequence[str]
    kind: str = "notes"


@dataclass
class Meanings:
    """The legend of the metrics."""

    meanings: dict[str, Meaning]
    kind: str = "meanings"


@dataclass
class Facts:
    """Pairs of names and values."""

    facts: list[tuple[str, str]]
    kind: str = "facts"


@dataclass
class Section:
    """A part of the page with a heading."""

    id: str
    title: str
    text: Sequence[str] = ()
    blocks: list[Any] = field(default_factory=list)


def render(title: str, subtitle: str, tiles: Sequence[tuple[str, str, str]], sections: Sequence[Section]) -> str:
    """Renders the whole page.

    Args:
        title, subtitle: its heading.
        tiles: name, figure and remark of the main figures.
        sections: in order.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nnrec.reports.html.write"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html")
    return page.render(title=title, subtitle=subtitle, tiles=tiles, sections=sections)
