"""alerts

Revision: 0004; follows 0003.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Uuid(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'resolved') = (resolved_at IS NOT NULL)", name=op.f("ck_alerts_resolved_at")
        ),
        sa.CheckConstraint("severity IN ('info', 'warning', 'critical')", name=op.f("ck_alerts_severity")),
        sa.CheckConstraint(
            "status <> 'acknowledged' OR acknowledged_at IS NOT NULL", name=op.f("ck_alerts_acknowledged_at")
        ),
        sa.CheckConstraint("status IN ('open', 'acknowledged', 'resolved')", name=op.f("ck_alerts_status")),
        sa.CheckConstraint(
            "last_seen_at >= opened_at AND resolved_at >= last_seen_at", name=op.f("ck_alerts_order")
        ),
        sa.CheckConstraint("occurrences >= 1", name=op.f("ck_alerts_occurrences")),
        sa.ForeignKeyConstraint(
            ["acknowledged_by"],
            ["users.id"],
            name=op.f("fk_alerts_acknowledged_by_users"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_alerts_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "ix_alerts_kind_subject_resolved_at", "alerts", ["kind", "subject", "resolved_at"], unique=False
    )
    op.create_index(
        "ix_alerts_owner_id_opened_at_id",
        "alerts",
        ["owner_id", sa.literal_column("opened_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "uq_alerts_unresolved",
        "alerts",
        ["owner_id", "kind", "subject"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        "ix_backtests_finished_at",
        "backtests",
        ["finished_at", "status"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_ingestions_finished_at",
        "ingestions",
        ["finished_at", "status"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_ingestions_finished_at",
        table_name="ingestions",
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_backtests_finished_at",
        table_name="backtests",
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.drop_index(
        "uq_alerts_unresolved",
        table_name="alerts",
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.drop_index("ix_alerts_owner_id_opened_at_id", table_name="alerts")
    op.drop_index("ix_alerts_kind_subject_resolved_at", table_name="alerts")
    op.drop_table("alerts")
