"""Runs the migrations against CIFT_POSTGRES_URL, each in a transaction, one runner at a time."""

from alembic import context
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from cift_core.models import Base
from cift_core.settings import settings
from cift_core.stores.postgres import sqlalchemy_url

MIGRATION_LOCK = 0x43494654  # "CIFT"


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    engine = create_engine(
        sqlalchemy_url(settings().postgres_url),
        poolclass=NullPool,
        connect_args={"options": "-c timezone=UTC -c lock_timeout=10s -c statement_timeout=300s"},
    )
    with engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.commit()
        run(connection)
    engine.dispose()


main()
