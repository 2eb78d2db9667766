"""The tables, one file each."""

from cift_core.models.alerts import Alert, AlertKind, AlertSeverity, AlertStatus
from cift_core.models.api_keys import APIKey
from cift_core.models.audit_logs import AuditLog
from cift_core.models.audit_seals import AuditSeal
from cift_core.models.backtests import Backtest, BacktestRead
from cift_core.models.base import Base
from cift_core.models.idempotency_keys import IdempotencyKey
from cift_core.models.ingestions import Ingestion, IngestionFile, IngestionReject
from cift_core.models.instruments import InstrumentCatalog, InstrumentSeries
from cift_core.models.jobs import FINAL, JobColumns, JobStatus
from cift_core.models.model_configs import ModelConfig
from cift_core.models.owned import OwnedColumns
from cift_core.models.quality import Condition, DataQuality, IngestionDay
from cift_core.models.revisions import DataRevision
from cift_core.models.trading_accounts import TradingAccount
from cift_core.models.trading_strategies import TradingStrategy
from cift_core.models.trading_strategy_versions import TradingStrategyVersion
from cift_core.models.users import User
from cift_core.models.watched_folders import WatchedContent, WatchedFile

__all__ = [
    "FINAL",
    "APIKey",
    "Alert",
    "AlertKind",
    "AlertSeverity",
    "AlertStatus",
    "AuditLog",
    "AuditSeal",
    "Backtest",
    "BacktestRead",
    "Base",
    "Condition",
    "DataQuality",
    "DataRevision",
    "IdempotencyKey",
    "Ingestion",
    "IngestionDay",
    "IngestionFile",
    "IngestionReject",
    "InstrumentCatalog",
    "InstrumentSeries",
    "JobColumns",
    "JobStatus",
    "ModelConfig",
    "OwnedColumns",
    "TradingAccount",
    "TradingStrategy",
    "TradingStrategyVersion",
    "User",
    "WatchedContent",
    "WatchedFile",
]
