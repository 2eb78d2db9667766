"""files of ingestions, and folders that are watched

Revision: 0009; follows 0008.
"""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COUNTS = ("rows_read", "rows_written", "rows_duplicate", "rows_rejected")


def upgrade() -> None:
    op.create_table(
        "ingestion_files",
        sa.Column("ingestion_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.ForeignKeyConstraint(
            ["ingestion_id"],
            ["ingestions.id"],
            name=op.f("fk_ingestion_files_ingestion_id_ingestions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("ingestion_id", "place", name=op.f("pk_ingestion_files")),
    )
    op.add_column("ingestion_rejects", sa.Column("file", sa.String(), nullable=True))
    op.create_table(
        "watched_files",
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("handled", sa.Boolean(), nullable=False),
        *_timestamps(),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_watched_files")),
    )
    op.create_table(
        "watched_contents",
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("ingestion_id", sa.Uuid(), nullable=False),
        *_timestamps(),
        sa.PrimaryKeyConstraint("folder", "sha256", name=op.f("pk_watched_contents")),
    )


def _timestamps() -> Iterator[sa.Column[datetime]]:
    for name in ("created_at", "updated_at"):
        yield sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def downgrade() -> None:
    op.drop_table("watched_contents")
    op.drop_table("watched_files")
    op.drop_column("ingestion_rejects", "file")
    op.drop_table("ingestion_files")
