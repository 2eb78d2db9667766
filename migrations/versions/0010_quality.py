"""quality

Revision: 0010; follows 0009.

All that is stored is to be checked once.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_UNCHECKED = "unchecked <> '{}' OR checking <> '{}'"
_ALL = """
    UPDATE instrument_series SET unchecked = datemultirange(daterange(
        DATE '1970-01-01' + (first_ns / 86400000000000)::integer,
        DATE '1970-01-01' + (last_ns / 86400000000000)::integer, '[]'))
    WHERE rows > 0
"""


def upgrade() -> None:
    op.create_table(
        "data_quality",
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("first_ns", sa.BigInteger(), nullable=True),
        sa.Column("last_ns", sa.BigInteger(), nullable=True),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("present", sa.Integer(), nullable=False),
        sa.Column("gaps", postgresql.INT8MULTIRANGE(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("rejects", sa.BigInteger(), nullable=False),
        sa.Column("out_of_order", sa.BigInteger(), nullable=False),
        sa.Column("outliers", sa.Integer(), nullable=False),
        sa.Column("zero_spreads", sa.BigInteger(), nullable=False),
        sa.Column("negative_spreads", sa.BigInteger(), nullable=False),
        sa.Column("condition", sa.String(), nullable=False),
        sa.CheckConstraint(
            "condition IN ('available', 'degraded', 'missing')", name=op.f("ck_data_quality_condition")
        ),
        sa.CheckConstraint("(rows = 0) = (first_ns IS NULL)", name=op.f("ck_data_quality_rows")),
        sa.PrimaryKeyConstraint("symbol", "kind", "interval", "day", name=op.f("pk_data_quality")),
    )
    op.create_index(
        "ix_data_quality_not_available",
        "data_quality",
        ["symbol", "kind", "interval", "day"],
        postgresql_where=sa.text("condition <> 'available'"),
    )
    op.create_table(
        "ingestion_days",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("ingestion_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("rejects", sa.BigInteger(), nullable=False),
        sa.Column("out_of_order", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestion_days")),
    )
    op.create_index(
        "ix_ingestion_days_symbol_kind_interval_day",
        "ingestion_days",
        ["symbol", "kind", "interval", "day"],
    )
    op.create_index("ix_ingestion_days_ingestion_id_attempt", "ingestion_days", ["ingestion_id", "attempt"])
    for name in ("unchecked", "checking"):
        column = sa.Column(name, postgresql.DATEMULTIRANGE(), server_default=sa.text("'{}'"), nullable=False)
        op.add_column("instrument_series", column)
    op.execute(_ALL)
    op.create_index(
        "ix_instrument_series_unchecked",
        "instrument_series",
        ["symbol"],
        postgresql_where=sa.text(_UNCHECKED),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_instrument_series_unchecked",
        table_name="instrument_series",
        postgresql_where=sa.text(_UNCHECKED),
    )
    op.drop_column("instrument_series", "checking")
    op.drop_column("instrument_series", "unchecked")
    op.drop_table("ingestion_days")
    op.drop_table("data_quality")
