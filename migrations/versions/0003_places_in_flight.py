"""places in flight: which jobs wait, and which submit takes a free place

Revision: 0003; follows 0002.
"""

import sqlalchemy as sa
from alembic import op

# Called by the INSERT of a submit. Each query of the function sees what is committed at its own beginning, so
# the second look, under the lock, sees what the submit that held it before has taken.
DISPATCHED_AT = """
    CREATE FUNCTION {table}_dispatched_at(owner uuid, max_in_flight integer) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        FOR look IN 1..2 LOOP
            IF max_in_flight <= (SELECT count(*) FROM (
                SELECT FROM {table}
                WHERE owner_id = owner AND status IN ('queued', 'running') AND dispatched_at IS NOT NULL
                LIMIT max_in_flight) AS in_flight)
            THEN RETURN NULL;
            END IF;
            PERFORM pg_advisory_xact_lock(hashtextextended('dispatch {table} ' || owner, 0));
        END LOOP;
        RETURN now();
    END $$
"""
TABLES = ("backtests", "ingestions")

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in TABLES:
        op.create_index(
            f"ix_{table}_in_flight",
            table,
            ["owner_id"],
            postgresql_where=sa.text("status IN ('queued', 'running') AND dispatched_at IS NOT NULL"),
        )
        op.create_index(
            f"ix_{table}_waiting",
            table,
            ["owner_id", "created_at", "id"],
            postgresql_where=sa.text("status = 'queued' AND dispatched_at IS NULL"),
        )
        op.execute(DISPATCHED_AT.format(table=table))


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP FUNCTION {table}_dispatched_at(uuid, integer)")
        op.drop_index(f"ix_{table}_waiting", table_name=table)
        op.drop_index(f"ix_{table}_in_flight", table_name=table)
