"""The table of methods that ``xinverse.methods()`` shows."""

from __future__ import annotations

from dataclasses import Field, fields
from html import escape
from typing import Any

from xinverse.methods.base import Method
from xinverse.methods.registry import available

__all__ = ["MethodTable", "table"]

HEADER = ("method", "what it is", "gives", "needs", "options")


class MethodTable(list[dict[str, str]]):
    """Rows of the table, shown as text or HTML.

    Examples
    --------
    >>> import xinverse
    >>> [row["what it is"] for row in xinverse.methods() if row["method"] == "oi"]
    ['optimal interpolation: Gaussian covariance, conjugate gradient']
    """

    def __repr__(self) -> str:
        widths = [max(len(h), *(len(row[h]) for row in self)) for h in HEADER[:-1]]
        lines = ["  ".join(f"{h:<{w}}" for h, w in zip(HEADER[:-1], widths, strict=True))]
        for row in self:
            cells = [f"{row[h]:<{w}}" for h, w in zip(HEADER[:-1], widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
            lines.append(f"    options: {row['options']}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(h)}</th>" for h in HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(row[h])}</td>" for h in HEADER) + "</tr>"
            for row in self
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def table() -> MethodTable:
    """List the methods: description, results, requirements and options.

    Returns
    -------
    MethodTable
        A list of dictionaries, displayed as a table.
    """
    rows = MethodTable()
    for name, method in sorted(available().items()):
        needs = [f"regular {what}" for what in method.regular]
        if method.learned:
            needs.append("weights")
        rows.append(
            {
                "method": name,
                "what it is": method.summary,
                "gives": ", ".join(("mean", *method.gives)),
                "needs": ", ".join(needs) or "-",
                "options": ", ".join(f"{f.name}={_default(f)!r}" for f in _options(method)),
            }
        )
    return rows


def _options(method: type[Method]) -> list[Field[Any]]:
    """The method's keywords, without weights=, which is a keyword of every verb."""
    return [f for f in fields(method) if f.name != "weights"]


def _default(option: Field[Any]) -> Any:
    """Default value of an option."""
    factory = option.default_factory
    return factory() if callable(factory) else option.default
