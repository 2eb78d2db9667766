"""`cift instruments`: what an operator does with the catalog of market data."""

import click

from cift_core.services import instrument_catalog
from cift_web.cli.operator import audit_command, operator_stores
from cift_web.cli.output import json_option, show


@click.group("instruments")
def instruments() -> None:
    """The catalog of market data."""


@instruments.command("rebuild")
@json_option
def rebuild(as_json: bool) -> None:
    """Count all market data again, and write the catalog anew.

    For after QuestDB was restored or changed by hand: ingestions keep the catalog true by themselves. Waits
    until no ingestion writes, and lets none write meanwhile; the data itself is not touched.
    """
    with operator_stores() as stores:
        count = instrument_catalog.rebuild(stores)
        with stores.postgres.transaction() as session:
            audit_command(session, "rebuild_instruments", "instruments", None, {"series": count})
    show({"series": count}, f"The catalog holds {count} series.", as_json)
