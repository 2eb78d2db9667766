"""The tables, one file each."""

from cift_core.models.api_keys import APIKey
from cift_core.models.audit_logs import AuditLog
from cift_core.models.backtests import Backtest
from cift_core.models.base import Base
from cift_core.models.idempotency_keys import IdempotencyKey
from cift_core.models.ingestions import Ingestion, IngestionReject
from cift_core.models.jobs import FINAL, JobColumns, JobStatus
from cift_core.models.users import User

__all__ = [
    "FINAL",
    "APIKey",
    "AuditLog",
    "Backtest",
    "Base",
    "IdempotencyKey",
    "Ingestion",
    "IngestionReject",
    "JobColumns",
    "JobStatus",
    "User",
]
