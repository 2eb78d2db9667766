"""what users keep

Revision: 0002; follows 0001.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

TRIGGERS = """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '% are never changed: % is refused', TG_TABLE_NAME, TG_OP; END $$;
    CREATE TRIGGER audit_seals_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    CREATE TRIGGER trading_strategy_versions_stay BEFORE UPDATE ON trading_strategy_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("rows >= 1", name=op.f("ck_audit_seals_rows")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("previous_hash", name=op.f("uq_audit_seals_previous_hash")),
    )
    op.create_table(
        "model_configs",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_model_configs_name")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_model_configs_version")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_model_configs_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_configs")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_model_configs_owner_id_name")),
    )
    op.create_index(
        "ix_model_configs_owner_id_created_at_id",
        "model_configs",
        ["owner_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "trading_accounts",
        sa.Column("broker", sa.String(), nullable=False),
        sa.Column("sealed_credentials", sa.LargeBinary(), nullable=False),
        sa.Column("credentials_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_trading_accounts_name")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_trading_accounts_version")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_trading_accounts_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_accounts")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_trading_accounts_owner_id_name")),
    )
    op.create_index(
        "ix_trading_accounts_owner_id_created_at_id",
        "trading_accounts",
        ["owner_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "trading_strategies",
        sa.Column("definition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_trading_strategies_name")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_trading_strategies_version")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_trading_strategies_owner_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_strategies")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_trading_strategies_owner_id_name")),
    )
    op.create_index(
        "ix_trading_strategies_owner_id_created_at_id",
        "trading_strategies",
        ["owner_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "trading_strategy_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("definition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_trading_strategy_versions_version")),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["trading_strategies.id"],
            name=op.f("fk_trading_strategy_versions_strategy_id_trading_strategies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_strategy_versions")),
        sa.UniqueConstraint(
            "strategy_id", "version", name=op.f("uq_trading_strategy_versions_strategy_id_version")
        ),
    )
    op.drop_index(op.f("ix_api_keys_user_id"), table_name="api_keys")
    op.create_index(
        "ix_api_keys_user_id_created_at_id",
        "api_keys",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_audit_logs_created_at", "audit_logs", ["created_at"], unique=False, postgresql_using="brin"
    )
    op.add_column("backtests", sa.Column("strategy_id", sa.Uuid(), nullable=True))
    op.add_column("backtests", sa.Column("strategy_version", sa.Integer(), nullable=True))
    op.create_index(
        "ix_backtests_strategy_id",
        "backtests",
        ["strategy_id"],
        unique=False,
        postgresql_where=sa.text("strategy_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_backtests_strategy_id_trading_strategies"),
        "backtests",
        "trading_strategies",
        ["strategy_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(
        "ix_users_created_at_id",
        "users",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.execute(TRIGGERS)


def downgrade() -> None:
    op.drop_index("ix_users_created_at_id", table_name="users")
    op.drop_constraint(op.f("fk_backtests_strategy_id_trading_strategies"), "backtests", type_="foreignkey")
    op.drop_index(
        "ix_backtests_strategy_id",
        table_name="backtests",
        postgresql_where=sa.text("strategy_id IS NOT NULL"),
    )
    op.drop_column("backtests", "strategy_version")
    op.drop_column("backtests", "strategy_id")
    op.drop_index("ix_audit_logs_created_at", table_name="audit_logs", postgresql_using="brin")
    op.drop_index("ix_api_keys_user_id_created_at_id", table_name="api_keys")
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"], unique=False)
    op.drop_table("trading_strategy_versions")
    op.drop_index("ix_trading_strategies_owner_id_created_at_id", table_name="trading_strategies")
    op.drop_table("trading_strategies")
    op.drop_index("ix_trading_accounts_owner_id_created_at_id", table_name="trading_accounts")
    op.drop_table("trading_accounts")
    op.drop_index("ix_model_configs_owner_id_created_at_id", table_name="model_configs")
    op.drop_table("model_configs")
    op.drop_table("audit_seals")
    op.execute("DROP FUNCTION refuse_change()")
