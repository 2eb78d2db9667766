"""`cift migrate`: the tables that this version needs."""

from pathlib import Path

import alembic.command
import alembic.config
import click

from cift_web.cli.operator import operator_stores

ALEMBIC_INI = Path(__file__).resolve().parents[2] / "alembic.ini"


@click.command()
def migrate() -> None:
    """Bring PostgreSQL and QuestDB to the tables that this version needs; may be repeated.

    Run it before the new version's processes start. Two at once wait for each other.
    """
    with operator_stores() as stores:
        stores.postgres.probe()
        alembic.command.upgrade(alembic.config.Config(str(ALEMBIC_INI)), "head")
        stores.questdb.create_tables()
    click.echo("PostgreSQL and QuestDB are up to date.", err=True)
