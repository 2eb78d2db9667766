"""What is not kept for ever: the long series of results, by whole days of their recording."""

from datetime import datetime, timedelta

from cift_core.stores.questdb import QuestDBPool

SERIES_TABLES = ("backtest_trades", "backtest_equity_chunks")


def drop_old_series(questdb: QuestDBPool, now: datetime, days: int) -> None:
    """Drop the series recorded more than `days` whole days before the day of `now` (UTC).

    The row of a backtest, with its metrics, stays in PostgreSQL. QuestDB can't delete rows, only partitions:
    a day each.

    Raises:
        StoreUnavailable: QuestDB does not answer.
    """
    first_kept = f"{now - timedelta(days=days):%Y-%m-%d}"
    for table in SERIES_TABLES:
        questdb.execute(f"ALTER TABLE {table} DROP PARTITION WHERE recorded_at < '{first_kept}'")
