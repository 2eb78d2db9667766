"""Alerts of gaps in market data: one for each series, that names the days."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cift_core.models import Alert, AlertKind, AlertSeverity, AlertStatus, Condition, DataQuality
from cift_core.services.revisions import Key

NAMED = 100
SHOWN = 10


def days_with_gaps(session: Session, key: Key, days: Sequence[date]) -> set[date]:
    """Those of these days of a series that are known to have gaps, or to be missing."""
    quality = DataQuality
    if not days:
        return set()
    return set(
        session.scalars(
            select(quality.day).where(
                quality.symbol == key[0],
                quality.kind == key[1],
                quality.interval == key[2],
                quality.condition != Condition.AVAILABLE,
                ~func.isempty(quality.gaps),
                quality.day.between(min(days), max(days)),
                quality.day.in_(days),
            )
        )
    )


def tell(session: Session, key: Key, before: set[date], now: set[date]) -> None:
    """Open the alert of a series, or add to it, for days that have gaps and had none; resolve it when none of
    the days it names has gaps any more."""
    subject = subject_of(key)
    alert = session.scalar(
        select(Alert)
        .where(
            Alert.owner_id.is_(None),
            Alert.kind == AlertKind.DATA_GAP,
            Alert.subject == subject,
            Alert.resolved_at.is_(None),
        )
        .with_for_update()
    )
    new = now - before
    if alert is None and new:
        alert = Alert(
            kind=AlertKind.DATA_GAP,
            subject=subject,
            severity=AlertSeverity.WARNING,
            opened_at=func.now(),
            last_seen_at=func.now(),
            **_said(key, new),
        )
        session.add(alert)
        return
    if alert is None:
        return
    named = {date.fromisoformat(day) for day in alert.details["days"]}
    left = days_with_gaps(session, key, sorted(named)) | new
    if left and left != named:
        for name, value in _said(key, left).items():
            setattr(alert, name, value)
        if new:
            alert.occurrences += 1
            alert.last_seen_at = func.greatest(func.now(), Alert.last_seen_at)
    if not left:
        alert.status = AlertStatus.RESOLVED
        alert.resolved_at = func.greatest(func.now(), Alert.last_seen_at)


def subject_of(key: Key) -> str:
    """What the alert of a series is about: `SPY bars 1d`, `EURUSD quotes`."""
    return " ".join(part for part in key if part)


def _said(key: Key, days: set[date]) -> dict[str, Any]:
    newest = sorted(days, reverse=True)
    shown = ", ".join(str(day) for day in newest[:SHOWN])
    more = f" and {len(newest) - SHOWN} more days" if len(newest) > SHOWN else ""
    return {
        "detail": f"{subject_of(key)} has gaps on {shown}{more}.",
        "details": {
            **dict(zip(("symbol", "kind", "interval"), key, strict=True)),
            "days": [str(day) for day in newest[:NAMED]],
            "count": len(newest),
        },
    }
