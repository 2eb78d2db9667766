"""ingestions from the topic: the range of offsets of a job, and where on the topic a reject stood

Revision: 0008; follows 0007.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ingestions", sa.Column("topic_range", postgresql.JSONB(), nullable=True))
    op.add_column("ingestion_rejects", sa.Column("partition", sa.Integer(), nullable=True))
    op.add_column("ingestion_rejects", sa.Column("message_offset", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("ingestion_rejects", "message_offset")
    op.drop_column("ingestion_rejects", "partition")
    op.drop_column("ingestions", "topic_range")
