"""A web page in one file: markup with every text escaped, tables, pictures within, no resource from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; padding: 1rem;
  max-width: 72rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, ul { margin: .5rem 0; max-width: 46rem; }
.wide { overflow-x: auto; }
.wide img { width: 100%; min-width: 34rem; max-width: 56rem; height: auto; display: block; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
td.text { text-align: left; white-space: normal; min-width: 10rem; overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid #999; vertical-align: bottom; white-space: normal; }
th[aria-sort] { cursor: pointer; }
tr.reference td { font-weight: 600; }
.note { color: #555; font-size: .9rem; }
"""

# Sorts a table by the column whose head is clicked: numbers by their value, which the cells carry; without scripts the
# table stays as it is written, best first.
SCRIPT = """
document.querySelectorAll("table.sortable").forEach(function (table) {
  table.querySelectorAll("thead th").forEach(function (head, column) {
    head.setAttribute("aria-sort", "none");
    head.addEventListener("click", function () {
      var up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
      var value = function (row) { return row.cells[column].dataset.value || row.cells[column].textContent; };
      table.querySelectorAll("thead th").forEach(function (other) { other.setAttribute("aria-sort", "none"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      Array.from(body.rows).sort(function (a, b) {
        var one = value(a), two = value(b), order = one - two;
        return (isNaN(order) ? one.localeCompare(two) : order) * (up ? 1 : -1);
      }).forEach(function (row) { body.appendChild(row); });
    });
  });
});
"""


class Markup(str):
    """Text that is markup already; all other text is escaped."""


def text(value: object) -> Markup:
    """Any value as markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def element(tag: str, *content: object, **attributes: str) -> Markup:
    """``<tag attributes>content</tag>``; a trailing underscore is cut from attributes (``class_``)."""
    written = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{written}>{''.join(map(text, content))}</{tag}>")


def paragraph(*content: object, note: bool = False) -> Markup:
    """A paragraph; ``note``: a remark, in smaller type."""
    return element("p", *content, class_="note") if note else element("p", *content)


def table(
    header: Sequence[object], rows: Iterable[Sequence[object]], *, sortable: bool = False, marked: str | None = None
) -> Markup:
    """A table that scrolls where the screen is narrower; cells that are no ``<td>`` yet become one.

    Args:
        header: The heads of the columns.
        rows: Their cells.
        sortable: Whether a click on a head sorts.
        marked: The text of the first cell of the row that stands out.
    """
    body = []
    for row in rows:
        cells = [c if isinstance(c, Markup) and c.startswith("<td") else element("td", c) for c in row]
        body.append(element("tr", *cells, **({"class_": "reference"} if row[0] == marked else {})))
    head = element("tr", *[element("th", name) for name in header])
    parts = element("thead", head), element("tbody", *body)
    return element("div", element("table", *parts, class_="sortable" if sortable else "plain"), class_="wide")


def picture(svg: str, description: str) -> Markup:
    """An SVG within the page; as an image, so that names inside it can neither collide nor run."""
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return element("div", Markup(f'<img src="{source}" alt="{escape(description)}">'), class_="wide")


def page(title: str, *content: object) -> str:
    """The whole document."""
    head = Markup(
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    script = Markup(f"<script>{SCRIPT}</script>")
    inner = element("head", head) + element("body", element("h1", title), *content, script)
    return f'<!DOCTYPE html>\n<html lang="en">{inner}</html>\n'
