"""/backtests: submit, list, read, cancel, remove."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, current_app, g
from marshmallow import Schema

from cift_core.errors import FieldError, InvalidInput
from cift_core.models import Backtest
from cift_core.services import backtests as service
from cift_core.services import idempotency, series
from cift_core.stores.postgres import reading
from cift_core.stores.questdb import QuestDBPool
from cift_tasks.backtests import enqueue_backtest
from cift_web.audit import audit_change
from cift_web.backtest_answers import PREFIX, BacktestAnswer, BacktestPage, EquityPage, TradePage, links_of
from cift_web.backtest_requests import BacktestQuery, BacktestRequest, EquityQuery
from cift_web.database import db, stores
from cift_web.etags import ETAG_HEADER, UNCHANGED, result_headers, unchanged
from cift_web.jobs import accept
from cift_web.resources import ACCEPTED_HEADERS, Resource
from cift_web.rows import Items, answer_rows, documented, wanted
from cift_web.schemas import Accepted, Idempotency, Page

READ, WRITE = "backtests:read", "backtests:write"
backtests = Resource("backtests", url_prefix=PREFIX, description="Backtests and their results.")


def _doc(page: type[Schema]) -> dict[str, Any]:
    return {**UNCHANGED, "responses": {**UNCHANGED["responses"], "200": documented(page)}}


@backtests.operation(
    "POST",
    "",
    access=WRITE,
    body=BacktestRequest(),
    headers=Idempotency(),
    answer=Accepted(),
    status=202,
    answer_headers=ACCEPTED_HEADERS,
    problems=(404, 409),
)
def submit_backtest(request: dict[str, Any], headers: dict[str, Any]) -> Response:
    """Submit a backtest

    Checked now; run by a worker as soon as one is free. `Location` tells how it goes. A saved strategy
    runs as the version it has now, or the one named; changes made to it later do not reach the backtest.
    """
    session = db.session()

    def submit() -> Backtest:
        places = stores().settings.max_jobs_in_flight
        backtest = service.submit(session, g.principal.user_id, request, max_in_flight=places)
        if backtest.dispatched_at is not None:
            enqueue_backtest(session, backtest.id)
        return backtest

    return accept(
        session,
        headers.get("idempotency_key"),
        lambda: idempotency.fingerprint("POST /backtests", request),
        submit,
        links_of,
    )


@backtests.operation("GET", "", access=READ, query=BacktestQuery(), answer=BacktestPage())
def list_backtests(query: dict[str, Any]) -> dict[str, Any]:
    """List backtests

    Your own, newest first.
    """
    found, following = service.list_backtests(db.session(), g.principal.user_id, **query)
    return {"items": found, "next": following}


@backtests.operation(
    "GET",
    "/<uuid:backtest_id>",
    access=READ,
    answer=BacktestAnswer(),
    answer_headers=ETAG_HEADER,
    problems=(404,),
    doc=UNCHANGED,
)
def get_backtest(backtest_id: UUID) -> Any:
    """Read a backtest

    How far it is and, when it succeeded, its metrics and what data it saw. A finished one never changes and
    has an ETag.
    """
    backtest = service.get(db.session(), g.principal.user_id, backtest_id)
    headers = result_headers(backtest)
    return unchanged(headers) or (backtest, headers)


@backtests.operation(
    "GET",
    "/<uuid:backtest_id>/trades",
    access=READ,
    query=Page(),
    answer=TradePage(),
    answer_headers=ETAG_HEADER,
    problems=(404, 410),
    doc=_doc(TradePage),
    own_transactions=True,
)
def list_backtest_trades(query: dict[str, Any], backtest_id: UUID) -> Response:
    """List the trades

    In exit order; none before the backtest succeeded, 410 when they are not kept any longer.
    """
    return _part(backtest_id, TradePage, series.read_trades, query)


@backtests.operation(
    "GET",
    "/<uuid:backtest_id>/equity",
    access=READ,
    query=EquityQuery(),
    answer=EquityPage(),
    answer_headers=ETAG_HEADER,
    problems=(404, 410),
    doc=_doc(EquityPage),
    own_transactions=True,
)
def list_backtest_equity(query: dict[str, Any], backtest_id: UUID) -> Response:
    """Read the equity

    In time order, one item per bar; none before the backtest succeeded, 410 when it is not kept any longer.
    """
    max_points = query.get("max_points")
    if max_points is None:
        return _part(backtest_id, EquityPage, series.read_equity, query)
    if "cursor" in query:
        detail = "thins the whole curve and can't be combined with cursor; leave one out"
        raise InvalidInput("invalid_request", f"max_points {detail}.", [FieldError("/max_points", detail)])

    def thinned(questdb: QuestDBPool, backtest: Backtest, _: str | None, __: int) -> tuple[Items, None]:
        return series.read_thinned_equity(questdb, backtest, max_points), None

    return _part(backtest_id, EquityPage, thinned, query)


@backtests.operation(
    "POST", "/<uuid:backtest_id>/cancel", access=WRITE, answer=BacktestAnswer(), problems=(404,)
)
def cancel_backtest(backtest_id: UUID) -> Backtest:
    """Cancel a backtest

    A queued one ends at once, a running one at its next heartbeat; a finished one stays as it is.
    """
    session = db.session()
    backtest = service.cancel(session, g.principal.user_id, backtest_id)
    audit_change(session, backtest_id)
    return backtest


@backtests.operation("DELETE", "/<uuid:backtest_id>", access=WRITE, status=204, problems=(404, 409))
def delete_backtest(backtest_id: UUID) -> Response:
    """Remove a finished backtest"""
    session = db.session()
    service.delete(session, g.principal.user_id, backtest_id)
    audit_change(session, backtest_id)
    return current_app.response_class(status=204)


def _part(
    backtest_id: UUID,
    page: type[Schema],
    read: Callable[[QuestDBPool, Backtest, str | None, int], tuple[Items, str | None]],
    query: dict[str, Any],
) -> Response:
    """Rows of the backtest, without a connection to PostgreSQL held while QuestDB is asked."""
    with reading(db.session()) as session:
        backtest = service.get(session, g.principal.user_id, backtest_id)
    headers = result_headers(backtest, form=wanted())
    if same := unchanged(headers):
        return same
    of_backtest = partial(read, stores().questdb, backtest)
    return answer_rows(page, of_backtest, query.get("cursor"), query["limit"], headers)
