"""`cift audit verify`, run as an operator runs it."""

import json

import pytest

from cift_core.services import audit_seals
from cift_core.stores import Stores
from tests.web.conftest import BACKTEST, Client
from tests.web.test_cli import cift


def test_the_trail_is_sealed_by_the_task_and_verified(alice: Client, stores: Stores) -> None:
    alice.post("/api/v1/backtests", json=BACKTEST)
    with stores.postgres.transaction() as session:
        audit_seals.seal_next(session)
        head = audit_seals.verify(session).head
    done = cift("audit", "verify", "--json")
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["holds"], verdict["broken"]) == (0, True, []), done.stderr
    assert verdict["seal"] == head.hex()
    assert f"The last seal: {head.hex()}" in cift("audit", "verify", "--seal", head.hex()).stdout


@pytest.mark.parametrize(("seal", "code"), [("ab" * 32, 1), ("ab", 2), ("zz" * 32, 2)])
def test_a_seal_that_is_not_in_the_chain_ends_with_1(seal: str, code: int) -> None:
    done = cift("audit", "verify", "--seal", seal)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("was made anew" if code == 1 else "hexadecimal") in done.stderr
