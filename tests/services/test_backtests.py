"""Backtests as their owners see them, on a real PostgreSQL, with real commits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from cift_core.engine import Execution
from cift_core.errors import Conflict, InvalidInput, NotFound
from cift_core.models import FINAL, Backtest, JobStatus, User
from cift_core.services import backtests
from cift_core.services.paging import encode_cursor
from cift_core.stores import Stores

REQUEST: dict[str, Any] = {
    "strategy": {"name": "sma_cross", "params": {"fast": 5}},
    "symbols": ["AAPL"],
    "interval": "1d",
    "start": "2004-08-19T00:00:00Z",
    "end": None,
    "cash": 10_000.0,
    "execution": {"commission_rate": 0.002, "size": {"type": "units", "value": 3}},
    "prices": "adjusted",
    "tags": ["demo"],
}
Submit = Callable[..., Backtest]


@pytest.fixture
def submit(stores: Stores, owner_id: UUID) -> Submit:
    """Submits a backtest and commits; what is given differs from `REQUEST`."""

    def submit(*, owner: UUID = owner_id, **changed: Any) -> Backtest:
        with stores.postgres.transaction() as session:
            return backtests.submit(session, owner, REQUEST | changed, max_in_flight=100)

    return submit


@pytest.fixture
def stranger_id(stores: Stores) -> UUID:
    with stores.postgres.transaction() as session:
        user = User(email=f"{uuid4()}@example.com", password_hash="-")
        session.add(user)
    return user.id


def move(stores: Stores, backtest: Backtest, status: JobStatus) -> None:
    token = uuid4() if status == JobStatus.RUNNING else None
    with stores.postgres.transaction() as session:
        session.execute(
            update(Backtest).where(Backtest.id == backtest.id).values(status=status, lease_token=token)
        )


def listed(stores: Stores, owner: UUID, **filters: Any) -> list[UUID]:
    with stores.postgres.transaction() as session:
        found, cursor = backtests.list_backtests(session, owner, **filters)
    assert cursor is None
    return [backtest.id for backtest in found]


def page(stores: Stores, owner: UUID, cursor: str | None, limit: int) -> tuple[list[UUID], str | None]:
    with stores.postgres.transaction() as session:
        found, following = backtests.list_backtests(session, owner, cursor=cursor, limit=limit)
    return [backtest.id for backtest in found], following


def test_a_submitted_backtest_is_queued_with_every_default_filled_in(
    stores: Stores, submit: Submit, owner_id: UUID
) -> None:
    submitted = submit()
    with stores.postgres.transaction() as session:
        stored = backtests.get(session, owner_id, submitted.id)
    for backtest in (submitted, stored):
        assert (backtest.status, backtest.progress, backtest.attempt) == ("queued", 0.0, 0)
        assert (backtest.strategy, backtest.symbols, backtest.tags) == ("sma_cross", ["AAPL"], ["demo"])
        assert backtest.created_at == backtest.dispatched_at is not None
        assert (backtest.metrics, backtest.error, backtest.finished_at) == (None, None, None)
    request = stored.request
    assert request["strategy"] == {"name": "sma_cross", "params": {"fast": 5, "slow": 20}}
    assert request["execution"]["size"] == {"type": "units", "value": 3.0}
    assert request["execution"]["stop_loss"] is None
    assert Execution.from_mapping(request["execution"]) == Execution(
        commission_rate=0.002, size={"type": "units", "value": 3}
    )
    for name in ("symbols", "interval", "start", "end", "cash", "prices", "tags"):
        assert request[name] == REQUEST[name]


def test_params_execution_and_tags_may_be_left_out(submit: Submit) -> None:
    for nothing in ({}, None):
        backtest = submit(strategy={"name": "sma_cross", "params": nothing}, execution=nothing, tags=nothing)
        assert backtest.request["strategy"]["params"] == {"fast": 10, "slow": 20}
        whole = Execution(size={"type": "equity_fraction", "value": 1.0})
        assert Execution.from_mapping(backtest.request["execution"]) == whole
        assert backtest.tags == []


def test_what_was_sent_is_not_changed(submit: Submit) -> None:
    execution = {"size": {"type": "units", "value": 3}}
    strategy = {"name": "sma_cross", "params": {"fast": 5}}
    submit(strategy=strategy, execution=execution)
    assert execution == {"size": {"type": "units", "value": 3}}
    assert strategy == {"name": "sma_cross", "params": {"fast": 5}}


def test_every_wrong_field_is_named_at_once(stores: Stores, submit: Submit, owner_id: UUID) -> None:
    with pytest.raises(InvalidInput) as caught:
        submit(
            strategy={"name": "sma_cross", "params": {"fast": 1, "slwo": 30}},
            execution={
                "commission_rate": -1,
                "size": {"type": "equity_fraction", "value": 2},
                "slipage_rate": 0,
            },
        )
    found = {error.pointer: error.detail for error in caught.value.errors}
    assert caught.value.code == "invalid_backtest"
    assert found.keys() == {
        "/strategy/params/fast",
        "/strategy/params/slwo",
        "/execution/commission_rate",
        "/execution/size/value",
        "/execution/slipage_rate",
    }
    assert "between 2 and" in found["/strategy/params/fast"]
    assert '"slow"' in found["/strategy/params/slwo"]
    assert '"slippage_rate"' in found["/execution/slipage_rate"]
    assert listed(stores, owner_id) == []


def test_an_unknown_strategy_is_named_with_its_neighbour_beside_the_other_errors(submit: Submit) -> None:
    with pytest.raises(InvalidInput) as caught:
        submit(strategy={"name": "sma_corss"}, execution={"fill": "yesterday"})
    first, second = caught.value.errors
    assert (first.pointer, second.pointer) == ("/strategy/name", "/execution/fill")
    assert '(did you mean "sma_cross"?)' in first.detail
    assert "buy_and_hold" in first.detail


@pytest.mark.parametrize("wrong", [[1], "fast", 5])
def test_parameters_that_are_no_object_are_named(submit: Submit, wrong: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        submit(strategy={"name": "sma_cross", "params": wrong})
    assert [error.pointer for error in caught.value.errors] == ["/strategy/params"]


def test_another_users_backtest_does_not_exist(
    stores: Stores, submit: Submit, owner_id: UUID, stranger_id: UUID
) -> None:
    backtest, finished = submit(), submit()
    move(stores, finished, JobStatus.SUCCEEDED)
    for act in (backtests.get, backtests.cancel, backtests.delete):
        for job in (backtest, finished):
            with stores.postgres.transaction() as session, pytest.raises(NotFound):
                act(session, stranger_id, job.id)
    assert listed(stores, stranger_id) == []
    assert listed(stores, owner_id, status="queued") == [backtest.id]
    assert listed(stores, owner_id, status="succeeded") == [finished.id]


def test_the_list_is_filtered(stores: Stores, submit: Submit, owner_id: UUID, stranger_id: UUID) -> None:
    one = submit()
    two = submit(symbols=["SPY"], tags=["demo", "late"])
    three = submit(strategy={"name": "buy_and_hold"}, symbols=["SPY"], tags=[])
    submit(owner=stranger_id)
    move(stores, two, JobStatus.RUNNING)
    for filters, expected in (
        ({}, [three, two, one]),
        ({"status": "queued"}, [three, one]),
        ({"status": "running"}, [two]),
        ({"status": "failed"}, []),
        ({"strategy": "sma_cross"}, [two, one]),
        ({"symbol": "SPY"}, [three, two]),
        ({"symbol": "SP"}, []),
        ({"tag": "demo"}, [two, one]),
        ({"tag": "late"}, [two]),
        ({"tag": "%"}, []),
        ({"created_after": one.created_at}, [three, two]),
        ({"created_after": one.created_at - timedelta(microseconds=1)}, [three, two, one]),
        ({"symbol": "SPY", "tag": "demo", "status": "running", "strategy": "sma_cross"}, [two]),
    ):
        found = listed(stores, owner_id, **filters)
        assert found == [backtest.id for backtest in expected], filters


def test_the_list_is_paged_through_while_new_ones_arrive(
    stores: Stores, submit: Submit, owner_id: UUID
) -> None:
    old = [submit().id for _ in range(5)][::-1]
    seen, cursor = page(stores, owner_id, None, 2)
    assert seen == old[:2]
    submit()
    more, cursor = page(stores, owner_id, cursor, 2)
    submit()
    last, cursor = page(stores, owner_id, cursor, 2)
    assert seen + more + last == old
    assert cursor is None


def test_a_page_that_holds_exactly_the_rest_is_the_last(
    stores: Stores, submit: Submit, owner_id: UUID
) -> None:
    ids = [submit().id for _ in range(4)][::-1]
    first, cursor = page(stores, owner_id, None, 2)
    last, following = page(stores, owner_id, cursor, 2)
    assert (first, last, following) == (ids[:2], ids[2:], None)


def test_jobs_of_the_same_moment_are_listed_once_each(stores: Stores, owner_id: UUID, submit: Submit) -> None:
    with stores.postgres.transaction() as session:
        ids = {backtests.submit(session, owner_id, REQUEST, max_in_flight=100).id for _ in range(7)}
    seen: list[UUID] = []
    cursor: str | None = None
    while True:
        found, cursor = page(stores, owner_id, cursor, 2)
        seen += found
        if cursor is None:
            break
    assert len(seen) == 7
    assert set(seen) == ids


def test_a_cursor_holds_though_its_job_is_gone(stores: Stores, submit: Submit, owner_id: UUID) -> None:
    ids = [submit().id for _ in range(3)][::-1]
    first, cursor = page(stores, owner_id, None, 1)
    with stores.postgres.transaction() as session:
        backtests.cancel(session, owner_id, first[0])
        backtests.delete(session, owner_id, first[0])
    assert page(stores, owner_id, cursor, 2) == (ids[1:], None)


@pytest.mark.parametrize("cursor", ["nonsense", encode_cursor(17), encode_cursor("2024-01-01", 5)])
def test_a_foreign_cursor_is_refused(stores: Stores, owner_id: UUID, cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        listed(stores, owner_id, cursor=cursor)
    assert [error.pointer for error in caught.value.errors] == ["/cursor"]


@pytest.mark.parametrize("status", FINAL)
def test_a_finished_backtest_is_removed(
    stores: Stores, submit: Submit, owner_id: UUID, status: JobStatus
) -> None:
    kept, backtest = submit(), submit()
    move(stores, backtest, status)
    with stores.postgres.transaction() as session:
        backtests.delete(session, owner_id, backtest.id)
    assert listed(stores, owner_id) == [kept.id]
    with stores.postgres.transaction() as session, pytest.raises(NotFound):
        backtests.delete(session, owner_id, backtest.id)


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_an_unfinished_backtest_is_not_removed(
    stores: Stores, submit: Submit, owner_id: UUID, status: JobStatus
) -> None:
    backtest = submit()
    move(stores, backtest, status)
    with stores.postgres.transaction() as session, pytest.raises(Conflict, match=status) as caught:
        backtests.delete(session, owner_id, backtest.id)
    assert caught.value.code == "not_finished"
    assert listed(stores, owner_id) == [backtest.id]


def test_a_cancelled_backtest_can_be_removed(stores: Stores, submit: Submit, owner_id: UUID) -> None:
    backtest = submit()
    with stores.postgres.transaction() as session:
        assert backtests.cancel(session, owner_id, backtest.id).status == "cancelled"
        backtests.delete(session, owner_id, backtest.id)
    with stores.postgres.transaction() as session:
        assert session.scalar(select(Backtest.id).where(Backtest.id == backtest.id)) is None
