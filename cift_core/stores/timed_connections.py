"""Connections to PostgreSQL, and to QuestDB by the same protocol, whose every wait ends."""

from typing import Any, TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

Answer = TypeVar("Answer")


class TimedConnection(Connection[tuple[Any, ...]]):
    """A connection that waits for an answer at most `timeout_s`, and is closed when none came."""

    timeout_s: float | None = None

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """What the driver waits for.

        Raises:
            OperationalError: it did not come in time.
        """
        try:
            return super().wait(gen, interval, timeout or self.timeout_s)
        except OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # the answer may still come, and would be taken for that of the next question
            raise
