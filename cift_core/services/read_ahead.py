"""An iterator whose next item is made in a thread while the one before is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def read_ahead(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """The items; one is being made, or made, while another is used. What making one raises is raised here.

    The thread has ended when the block has.
    """
    made: queue.SimpleQueue[tuple[Item | None, BaseException | None]] = queue.SimpleQueue()
    wanted, left = threading.Semaphore(), threading.Event()

    def make() -> None:
        iterator = iter(items)
        while wanted.acquire() and not left.is_set():
            try:
                made.put((next(iterator), None))
            except BaseException as error:  # noqa: BLE001  raised where the items are used
                made.put((None, error))
                return

    def used() -> Iterator[Item]:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            wanted.release()
            yield item  # type: ignore[misc]  # there is one where there is no error
            del item  # before the next is waited for: an item may be large

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield used()
    finally:
        left.set()
        wanted.release()
        thread.join()
