"""The keys of a file so far: none forgotten, none made up, whatever their order and their distances."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cift_core.services.market_kinds import BARS
from cift_core.services.seen_keys import SeenKeys
from cift_core.services.timestamps import MAX_NS
from cift_core.stores.spools import Spool

assert BARS.unit_ns == 1_000
TIMES = st.one_of(st.integers(0, 20), st.integers(0, 20).map(lambda n: n * 1_000_000), st.integers(0, MAX_NS))
KEYS = st.sets(st.tuples(TIMES, st.one_of(st.integers(0, 3), st.integers(0, 2**63 - 1))), max_size=30)


def arrays(keys: set[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.array(sorted(keys), dtype=np.int64).reshape(-1, 2)
    return ordered[:, 0], ordered[:, 1]


@given(st.lists(KEYS, max_size=4), KEYS)
def test_exactly_the_keys_that_were_added_are_found(
    blocks: list[set[tuple[int, int]]], asked: set[tuple[int, int]]
) -> None:
    seen, added = SeenKeys(Spool()), set[tuple[int, int]]()
    for block in blocks:
        seen.add(*arrays(block - added))
        added |= block
    if not asked:
        return
    times, numbers = arrays(asked)
    assert seen.contains(times, numbers).tolist() == [key in added for key in sorted(asked)]
    moments = np.unique(times)
    expected = [sum(time == moment for time, _ in added) for moment in moments.tolist()]
    assert seen.count(moments).tolist() == expected
