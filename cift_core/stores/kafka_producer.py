"""Messages onto a topic: compressed, in batches, each once, and not one lost unheard."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from cift_core.errors import InvalidInput, StoreUnavailable
from cift_core.stores.kafka import connected, unavailable

MAX_MESSAGE_BYTES = 1_000_000  # the broker's own limit is a little above
DELIVERY_TIMEOUT_S, REQUEST_TIMEOUT_S, CLOSE_TIMEOUT_S = 120.0, 15.0, 5.0
_IN_FLIGHT = 2_000  # messages; the library would take all that memory holds
Headers = Sequence[tuple[str, bytes]]


class Producer:
    """Sends to topics. Leaving its `with` waits until each message is delivered, or raises that one was not.

    Messages with one key keep their order. One that was sent again after a lost connection is kept once.
    """

    def __init__(
        self, bootstrap_servers: Sequence[str], *, delivery_timeout_s: float = DELIVERY_TIMEOUT_S
    ) -> None:
        self._delivery_timeout_s = delivery_timeout_s
        self._slots = threading.BoundedSemaphore(_IN_FLIGHT)
        self._lock = threading.Lock()
        self._delivered = 0
        self._failures: list[Exception] = []
        try:
            self._producer = connected(
                KafkaProducer,
                bootstrap_servers,
                acks="all",
                enable_idempotence=True,
                compression_type="gzip",
                linger_ms=20,
                batch_size=256 * 1024,
                max_request_size=2 * MAX_MESSAGE_BYTES,
                delivery_timeout_ms=round(delivery_timeout_s * 1000),
                request_timeout_ms=round(min(REQUEST_TIMEOUT_S, delivery_timeout_s / 2) * 1000),
            )
        except KafkaError as error:
            raise unavailable(error) from error

    @property
    def delivered(self) -> int:
        """How many messages Kafka has taken."""
        return self._delivered

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Send one message; waits while very many are on their way.

        Raises:
            InvalidInput: it is too large.
            StoreUnavailable: this or an earlier message could not be delivered.
        """
        if len(value) > MAX_MESSAGE_BYTES:
            raise _too_large(len(value))
        while not self._slots.acquire(timeout=1.0):
            self._raise_failures()
        self._raise_failures()
        try:
            sent = self._producer.send(topic, key=key, value=value, headers=list(headers))
        except MessageSizeTooLargeError as error:
            raise _too_large(len(value)) from error
        except KafkaError as error:
            raise unavailable(error) from error
        sent.add_callback(self._note_delivery)
        sent.add_errback(self._note_failure)

    def flush(self) -> None:
        """Return when every message was delivered.

        Raises:
            StoreUnavailable: one was not.
        """
        try:
            self._producer.flush(timeout=self._delivery_timeout_s + 10)
        except KafkaError as error:
            raise unavailable(error) from error
        self._raise_failures()

    def close(self) -> None:
        """Give up what is not delivered, and disconnect."""
        with suppress(KafkaTimeoutError):
            self._producer.close(timeout=CLOSE_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                self.flush()
        finally:
            self.close()

    def _note_delivery(self, _: object) -> None:
        with self._lock:
            self._delivered += 1
        self._slots.release()

    def _note_failure(self, error: Exception) -> None:
        with self._lock:
            self._failures.append(error)
        self._slots.release()

    def _raise_failures(self) -> None:
        with self._lock:
            failures = list(self._failures)
        if failures:
            raise StoreUnavailable(
                "kafka_not_delivered",
                f"Kafka did not take {len(failures):,} messages ({type(failures[0]).__name__}); "
                "send them again.",
            ) from failures[0]


def _too_large(size_bytes: int) -> InvalidInput:
    return InvalidInput(
        "message_too_large", f"A message has {size_bytes:,} bytes, at most {MAX_MESSAGE_BYTES:,} are taken."
    )
