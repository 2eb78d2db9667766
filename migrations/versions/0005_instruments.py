"""instruments

Revision: 0005; follows 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instrument_catalog",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_instrument_catalog_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instrument_catalog")),
    )
    op.create_table(
        "instrument_series",
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("first_ns", sa.BigInteger(), nullable=True),
        sa.Column("last_ns", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "rows >= 0 AND (rows = 0) = (first_ns IS NULL)", name=op.f("ck_instrument_series_rows")
        ),
        sa.CheckConstraint(
            "(first_ns IS NULL) = (last_ns IS NULL) AND first_ns <= last_ns",
            name=op.f("ck_instrument_series_range"),
        ),
        sa.PrimaryKeyConstraint("symbol", "kind", "interval", name=op.f("pk_instrument_series")),
    )
    op.create_index(
        "ix_instrument_series_kind_interval_symbol",
        "instrument_series",
        ["kind", "interval", "symbol"],
        unique=False,
    )
    op.create_index(
        "ix_instrument_series_unsettled",
        "instrument_series",
        ["symbol"],
        unique=False,
        postgresql_where=sa.text("NOT settled"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_instrument_series_unsettled",
        table_name="instrument_series",
        postgresql_where=sa.text("NOT settled"),
    )
    op.drop_index("ix_instrument_series_kind_interval_symbol", table_name="instrument_series")
    op.drop_table("instrument_series")
    op.drop_table("instrument_catalog")
