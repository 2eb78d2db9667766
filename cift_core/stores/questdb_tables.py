"""The tables of QuestDB. Results and probes are append only: their timestamp is the time of recording.

Each has dedup keys, so that a write may be sent again when its acknowledgement got lost.
"""

TABLES: dict[str, str] = {
    "bars": """
        CREATE TABLE IF NOT EXISTS bars (
            timestamp TIMESTAMP, symbol SYMBOL CAPACITY 4096, interval SYMBOL CAPACITY 16,
            open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume DOUBLE, adjusted_close DOUBLE,
            ingestion_id UUID
        ) TIMESTAMP(timestamp) PARTITION BY YEAR WAL DEDUP UPSERT KEYS(timestamp, symbol, interval)
    """,
    "backtest_trades": """
        CREATE TABLE IF NOT EXISTS backtest_trades (
            recorded_at TIMESTAMP, job_id UUID, attempt INT, seq INT, symbol SYMBOL CAPACITY 4096,
            side SYMBOL CAPACITY 4, size DOUBLE, entry_time_ns LONG, entry_price DOUBLE, exit_time_ns LONG,
            exit_price DOUBLE, pnl DOUBLE, "return" DOUBLE, fees DOUBLE, bars_held LONG,
            exit_reason SYMBOL CAPACITY 8
        ) TIMESTAMP(recorded_at) PARTITION BY DAY WAL DEDUP UPSERT KEYS(recorded_at, job_id, attempt, seq)
    """,
    "backtest_equity": """
        CREATE TABLE IF NOT EXISTS backtest_equity (
            recorded_at TIMESTAMP, job_id UUID, attempt INT, time_ns LONG, equity DOUBLE, cash DOUBLE,
            position_value DOUBLE, drawdown DOUBLE
        ) TIMESTAMP(recorded_at) PARTITION BY DAY WAL DEDUP UPSERT KEYS(recorded_at, job_id, attempt, time_ns)
    """,
    "health_probes": """
        CREATE TABLE IF NOT EXISTS health_probes (
            recorded_at TIMESTAMP, store SYMBOL CAPACITY 32, healthy BOOLEAN, latency_ms DOUBLE,
            reason VARCHAR
        ) TIMESTAMP(recorded_at) PARTITION BY DAY TTL 90 DAYS WAL
          DEDUP UPSERT KEYS(recorded_at, store)
    """,
}
