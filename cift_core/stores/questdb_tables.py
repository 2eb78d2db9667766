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
    "ticks": """
        CREATE TABLE IF NOT EXISTS ticks (
            timestamp TIMESTAMP_NS, symbol SYMBOL CAPACITY 4096, trade_id LONG, price DOUBLE, size DOUBLE,
            side SYMBOL CAPACITY 4, ingestion_id UUID, server_time BOOLEAN
        ) TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, symbol, trade_id)
    """,
    "quotes": """
        CREATE TABLE IF NOT EXISTS quotes (
            timestamp TIMESTAMP_NS, symbol SYMBOL CAPACITY 4096, ordinal LONG, bid DOUBLE, ask DOUBLE,
            bid_size DOUBLE, ask_size DOUBLE, ingestion_id UUID
        ) TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, symbol, ordinal)
    """,
    "backtest_trades": """
        CREATE TABLE IF NOT EXISTS backtest_trades (
            recorded_at TIMESTAMP, job_id UUID, attempt INT, seq INT, symbol SYMBOL CAPACITY 4096,
            side SYMBOL CAPACITY 4, size DOUBLE, entry_time_ns LONG, entry_price DOUBLE, exit_time_ns LONG,
            exit_price DOUBLE, pnl DOUBLE, "return" DOUBLE, fees DOUBLE, bars_held LONG,
            exit_reason SYMBOL CAPACITY 8
        ) TIMESTAMP(recorded_at) PARTITION BY DAY WAL DEDUP UPSERT KEYS(recorded_at, job_id, attempt, seq)
    """,
    "backtest_equity_chunks": """
        CREATE TABLE IF NOT EXISTS backtest_equity_chunks (
            recorded_at TIMESTAMP, job_id UUID, attempt INT, first_bar INT, time_s DOUBLE[],
            time_subsecond_ns DOUBLE[], equity DOUBLE[], cash DOUBLE[], position_value DOUBLE[],
            drawdown DOUBLE[]
        ) TIMESTAMP(recorded_at) PARTITION BY DAY WAL
          DEDUP UPSERT KEYS(recorded_at, job_id, attempt, first_bar)
    """,
    "health_probes": """
        CREATE TABLE IF NOT EXISTS health_probes (
            recorded_at TIMESTAMP, store SYMBOL CAPACITY 32, healthy BOOLEAN, latency_ms DOUBLE,
            reason VARCHAR
        ) TIMESTAMP(recorded_at) PARTITION BY DAY TTL 90 DAYS WAL
          DEDUP UPSERT KEYS(recorded_at, store)
    """,
}

# table, column and type: what tables of an earlier version do not have
ADDED_COLUMNS: tuple[tuple[str, str, str], ...] = (("ticks", "server_time", "BOOLEAN"),)
