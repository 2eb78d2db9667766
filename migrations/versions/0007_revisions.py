"""revisions

Revision: 0007; follows 0006.

Backtests that are finished already are taken to have read what their `data` says, at version 0.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# of ticks the last microsecond is read to its end; a bar reaches at least over its label
_READS = """
    INSERT INTO backtest_reads
        (backtest_id, attempt, symbol, owner_id, kind, interval, version, begin_ns, end_ns)
    SELECT id, result_attempt, symbol, owner_id, coalesce(seen->'source'->>'kind', 'bars'),
        coalesce(CASE WHEN seen->'source' IS NULL THEN request->>'interval' END,
                 seen->'source'->>'interval', ''), 0,
        least(extract(epoch FROM coalesce(request->>'start', seen->>'first')::timestamptz),
              extract(epoch FROM (seen->>'first')::timestamptz))::numeric * 1000000000,
        greatest(extract(epoch FROM coalesce(request->>'end', seen->>'last')::timestamptz),
                 extract(epoch FROM (seen->>'last')::timestamptz) + 0.000001)::numeric * 1000000000
    FROM backtests, unnest(symbols) AS symbol,
        LATERAL (SELECT coalesce(data->'symbols'->symbol, data) AS seen) AS of_symbol
    WHERE status = 'succeeded' AND data IS NOT NULL AND result_attempt IS NOT NULL
"""


def upgrade() -> None:
    op.create_table(
        "data_revisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("ingestion_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("first_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_ns", sa.BigInteger(), nullable=False),
        sa.Column("days", postgresql.DATEMULTIRANGE(), nullable=False),
        sa.Column("rows_added", sa.BigInteger(), nullable=False),
        sa.Column("rows_changed", sa.BigInteger(), nullable=False),
        sa.Column("chunk", sa.BigInteger(), nullable=False),
        sa.Column("chunk_added", sa.BigInteger(), nullable=False),
        sa.Column("chunk_changed", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_revisions")),
    )
    op.create_index("ix_data_revisions_symbol_id", "data_revisions", ["symbol", sa.literal_column("id DESC")])
    op.create_index(
        "ix_data_revisions_symbol_kind_interval_version",
        "data_revisions",
        ["symbol", "kind", "interval", "version"],
    )
    op.create_index(
        "uq_data_revisions_unsettled",
        "data_revisions",
        ["symbol", "kind", "interval", "ingestion_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("version IS NULL"),
    )
    op.create_table(
        "backtest_reads",
        sa.Column("backtest_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("begin_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("begin_ns < end_ns", name=op.f("ck_backtest_reads_range")),
        sa.ForeignKeyConstraint(
            ["backtest_id"],
            ["backtests.id"],
            name=op.f("fk_backtest_reads_backtest_id_backtests"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("backtest_id", "attempt", "symbol", name=op.f("pk_backtest_reads")),
    )
    op.create_index(
        "ix_backtest_reads_owner_id_symbol", "backtest_reads", ["owner_id", "symbol", "kind", "interval"]
    )
    op.add_column(
        "instrument_series",
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.execute(_READS)


def downgrade() -> None:
    op.drop_column("instrument_series", "version")
    op.drop_table("backtest_reads")
    op.drop_table("data_revisions")
