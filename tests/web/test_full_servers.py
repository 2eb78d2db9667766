"""A server that is full, a series that is not kept: what was accepted stays, the rest is a clear problem."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import redis
from sqlalchemy import func, text, update

from cift_core.models import AuditLog, Backtest, JobStatus
from cift_core.services import dispatch
from cift_core.settings import Settings
from cift_core.stores import Stores
from tests.web.conftest import BACKTEST, Client

BACKTESTS = "/api/v1/backtests"
METRICS = {"trades": 7, "rejected_orders": 0, "ruined": False, "open_position": None}


@pytest.fixture
def full_broker(settings: Settings) -> Iterator[redis.Redis]:
    """A broker that has reached its maxmemory, and evicts nothing."""
    with redis.Redis.from_url(settings.broker_url) as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.rpush("test:full", "x" * 10)
        yield client
        client.config_set("maxmemory", "0")


def test_a_submit_is_202_and_waits_in_its_row_while_the_broker_is_full(
    alice: Client, full_broker: redis.Redis, stores: Stores
) -> None:
    made = alice.post(BACKTESTS, json=BACKTEST)
    assert made.status_code == 202
    with stores.postgres.transaction() as session:
        backtest = session.get_one(Backtest, made.json["id"])
        assert (backtest.status, backtest.dispatched_at) == ("queued", None)
        to_send = dispatch.take_undispatched(
            session, Backtest, queued_too_long_s=30, waiting_messages=0, max_in_flight=100
        )
        assert backtest.id in to_send, "the next turn of requeue_stale"


@pytest.fixture
def full_disk(stores: Stores) -> Iterator[None]:
    """PostgreSQL's own error of a full disk, raised by the server at every insert of a backtest."""
    raising = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'"
    with stores.postgres.transaction() as session:
        session.execute(
            text(
                f"CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {raising}; END $$;"
                "CREATE TRIGGER no_space BEFORE INSERT ON backtests EXECUTE FUNCTION no_space()"
            )
        )
    yield
    with stores.postgres.transaction() as session:
        session.execute(text("DROP FUNCTION no_space CASCADE"))


@pytest.mark.usefixtures("full_disk")
def test_a_submit_that_postgresql_has_no_room_for_is_503_and_reads_go_on(
    alice: Client, trail: Callable[..., list[AuditLog]]
) -> None:
    refused = alice.post(BACKTESTS, json=BACKTEST)
    assert (refused.status_code, refused.json["code"]) == (503, "postgres_full")
    assert int(refused.headers["Retry-After"]) > 0
    assert "device" not in refused.json["detail"]
    assert [row.result for row in trail(user_id=alice.user_id)] == ["failed"]
    assert alice.get(BACKTESTS).json == {"items": [], "next": None}


def test_a_series_that_is_not_kept_is_410_and_the_metrics_stay(
    alice: Client, stores: Stores, settings: Settings
) -> None:
    made = alice.post(BACKTESTS, json=BACKTEST).json
    with stores.postgres.transaction() as session:
        session.execute(
            update(Backtest)
            .where(Backtest.id == made["id"])
            .values(
                status=JobStatus.SUCCEEDED,
                metrics=METRICS,
                result_attempt=1,
                recorded_at=func.now() - timedelta(days=settings.series_kept_days + 2),
            )
        )
    for part in ("trades", "equity", "equity?max_points=10"):
        answer = alice.get(f"{made['links']['self']}/{part}")
        assert (answer.status_code, answer.json["code"]) == (410, "series_not_kept")
    assert alice.get(made["links"]["self"]).json["metrics"]["trades"] == 7
