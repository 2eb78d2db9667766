"""How the engine's inner loops are compiled and their compiled form is kept."""

from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

P = ParamSpec("P")
R = TypeVar("R")


def _sources_sha256() -> str:
    digest = sha256()
    for source in sorted(files("cift_core.engine").iterdir(), key=lambda entry: entry.name):
        if source.name.endswith(".py"):
            digest.update(source.read_bytes())
    return digest.hexdigest()


_SOURCES_SHA256: Final = _sources_sha256()


class _Cache(FunctionCache):
    """Numba's cache on disk, valid for exactly these sources of the engine.

    Numba's own looks at the file of the function alone: a change in a kernel that it calls from
    another file would leave the old one compiled in, and yesterday's figures with it.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file._source_stamp = _SOURCES_SHA256


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """`function` compiled by Numba at its first call, cached on disk, running without the GIL.

    No fast-math: sums keep their order and nothing is contracted, so a result repeats bit for bit.
    Division by zero gives inf or NaN as in NumPy, and callers rule it out or map it to "does not exist".
    """
    return _compiled(function)


def in_place(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel that makes no arrays, nor does one that it calls: it works on what its caller keeps alive.

    Numba counts no references in it, which is an atomic operation for each array at each inner call.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    dispatcher._cache = _Cache(function)
    return cast("Callable[P, R]", dispatcher)
