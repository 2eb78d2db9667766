"""the trail is read and added to

Revision: 0006; follows 0005.

The role that owns the trail gives up changing and removing its rows, which triggers refuse as well.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON audit_logs, audit_seals FROM CURRENT_USER")


def downgrade() -> None:
    op.execute("GRANT UPDATE, DELETE, TRUNCATE ON audit_logs, audit_seals TO CURRENT_USER")
