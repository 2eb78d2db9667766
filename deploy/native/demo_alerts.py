"""The demo's alert: a store is stopped and started again, and the API tells of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed

from .errors import StackError
from .stack import Stack

STORE = "redis-cache"
ALERTS = "/api/v1/alerts?kind=store_unhealthy&limit=20"
TIMEOUT_S = 30
Alert = dict[str, Any]
Page = Callable[[str], list[Alert]]


def show_alert(stack: Stack, page: Page) -> None:
    """Stop the cache until its alert is open, start it again until it is resolved, and print both.

    `page` reads a list of the API with an operator's key.
    """
    before = {alert["id"] for alert in page(ALERTS)}
    print(f"\nstop {STORE}")
    stack.stop(STORE)
    try:
        opened = _awaited(page, before, "open")
    finally:
        stack.start(STORE)
    print(f"  -> GET {ALERTS}: {opened['severity']}, {opened['status']} since {opened['opened_at']}")
    print(f"     {opened['detail']}")
    print(f"start {STORE}")
    resolved = _awaited(page, before, "resolved")
    print(
        f"  -> GET {ALERTS}: {resolved['status']} at {resolved['resolved_at']}, "
        f"after {resolved['duration_s']:.1f} s; seen {resolved['occurrences']} times"
    )


def _awaited(page: Page, before: set[str], status: str) -> Alert:
    """The cache's new alert once it has this status."""

    @retry(
        retry=retry_if_result(lambda found: not found), stop=stop_after_delay(TIMEOUT_S), wait=wait_fixed(0.1)
    )
    def look() -> list[Alert]:
        new = (alert for alert in page(ALERTS) if alert["subject"] == "cache" and alert["id"] not in before)
        return [alert for alert in new if alert["status"] == status]

    try:
        return look()[0]
    except RetryError as error:
        raise StackError(f"The cache's alert was not {status} within {TIMEOUT_S} s.") from error
