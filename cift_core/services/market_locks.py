"""Who may write which market data: one writer of a symbol at a time."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from cift_core.services.market_kinds import Kind
from cift_core.stores.advisory_locks import Lock, hold
from cift_core.stores.postgres import PostgresPool

MANY_SYMBOLS = 100


def one_writer(
    postgres: PostgresPool, kind: Kind, symbol: str | None, while_waiting: Callable[[], None]
) -> AbstractContextManager[Callable[[], None]]:
    """The right to write the rows of one symbol, or of all when the file names its symbols itself.

    Whoever writes all excludes everybody. The table's lock comes first, so nobody waits in a circle.
    """
    if symbol is None:
        return hold(postgres, Lock(kind.name), while_waiting=while_waiting)
    locks = Lock(kind.name, shared=True), Lock(f"{kind.name}:{symbol}")
    return hold(postgres, *locks, while_waiting=while_waiting)


def one_writer_of(
    postgres: PostgresPool, kind: Kind, symbols: Sequence[str], while_waiting: Callable[[], None]
) -> AbstractContextManager[Callable[[], None]]:
    """The right to write the rows of these symbols; of more than a few it is that to write all.

    Everybody takes the symbols' locks in the order of their names, so nobody waits in a circle.
    """
    if len(symbols) > MANY_SYMBOLS:
        return one_writer(postgres, kind, None, while_waiting)
    locks = [Lock(f"{kind.name}:{symbol}") for symbol in sorted(symbols)]
    return hold(postgres, Lock(kind.name, shared=True), *locks, while_waiting=while_waiting)
