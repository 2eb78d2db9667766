"""What a command leaves: text or JSON on standard output, and its exit code."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import click

from cift_core.clock import rfc3339, to_ns

REFUSED, UNUSABLE, UNAVAILABLE = 1, 2, 3
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def show(value: object, text: str | Callable[[], str], as_json: bool) -> None:
    """Print the value as JSON, or the text."""
    if as_json:
        click.echo(json.dumps(value, default=_json_value))
    else:
        click.echo(text if isinstance(text, str) else text())


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under their names, in columns as wide as they need."""
    cells = [list(names), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return rfc3339(to_ns(value)) if isinstance(value, datetime) else str(value)


def _json_value(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return rfc3339(to_ns(value))
    raise TypeError(type(value).__name__)
