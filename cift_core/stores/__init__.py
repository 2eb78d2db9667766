"""The only code that opens a socket or a file."""

from dataclasses import dataclass
from typing import Literal

from cift_core.settings import Settings
from cift_core.stores.array_files import ArrayFiles
from cift_core.stores.kafka import Kafka
from cift_core.stores.postgres import PostgresPool
from cift_core.stores.questdb import QuestDBPool
from cift_core.stores.rate_counters import RateCounters
from cift_core.stores.redis import RedisPool

Role = Literal["web", "worker", "cli"]
# (PostgreSQL pool, overflow, QuestDB min, max, seconds for one query: QuestDB's own limit is 60). A web
# request's session comes from Flask-SQLAlchemy's own engine of 20 + 10; of this pool the watch draws alone.
_SIZES: dict[Role, tuple[int, int, int, int, float]] = {
    "web": (20, 10, 5, 20, 10.0),
    "worker": (2, 2, 1, 2, 60.0),
    "cli": (2, 0, 1, 1, 60.0),
}


@dataclass(frozen=True)
class Stores:
    """The stores of one process; each opens its sockets at first use."""

    settings: Settings
    postgres: PostgresPool
    questdb: QuestDBPool
    cache: RedisPool
    broker: RedisPool
    rates: RateCounters
    kafka: Kafka
    arrays: ArrayFiles

    def close(self) -> None:
        """Close every connection of this process."""
        for store in (self.postgres, self.questdb, self.cache, self.broker, self.rates, self.kafka):
            store.close()


def open_stores(settings: Settings, role: Role) -> Stores:
    """The stores with the pool sizes of a role; call it after a fork, never before."""
    pool_size, max_overflow, questdb_min, questdb_max, query_timeout_s = _SIZES[role]
    return Stores(
        settings=settings,
        postgres=PostgresPool(settings.postgres_url, pool_size=pool_size, max_overflow=max_overflow),
        questdb=QuestDBPool(
            settings.questdb_pg_url,
            settings.questdb_http_url,
            min_size=questdb_min,
            max_size=questdb_max,
            query_timeout_s=query_timeout_s,
            import_dir=settings.questdb_import_dir,
        ),
        cache=RedisPool(settings.cache_url, timeout_s=settings.probe_timeout_s),
        broker=RedisPool(settings.broker_url, timeout_s=settings.probe_timeout_s),
        rates=RateCounters(settings.cache_url),
        kafka=Kafka(settings.kafka_bootstrap_servers, timeout_s=settings.probe_timeout_s),
        arrays=ArrayFiles(settings.upload_dir / "arrays", settings.read_cache_bytes),
    )
