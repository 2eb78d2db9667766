"""An iterator whose next item is made in a thread while the one before is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
_POLL_S = 0.2


@contextmanager
def read_ahead(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """The items, at most one of them made before it is asked for; what making one raises is raised here.

    The thread has ended when the block has.
    """
    made: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=1)
    left = threading.Event()

    def make() -> None:
        try:
            for item in items:
                if not _put(made, (item, None), left):
                    return
            _put(made, (None, None), left)
        except BaseException as error:  # noqa: BLE001  raised where the items are used
            _put(made, (None, error), left)

    def used() -> Iterator[Item]:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield used()
    finally:
        left.set()
        thread.join()


def _put(made: "queue.Queue[Item]", item: Item, left: threading.Event) -> bool:
    """Whether it was put; False when nobody takes any more."""
    while not left.is_set():
        try:
            made.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
