"""Trades through the whole service, with a worker killed in the middle."""

import gzip
import json
from uuid import uuid4

from tests.e2e import market
from tests.e2e.client import Client
from tests.e2e.service import Service

COUNTS = ("rows_read", "rows_written", "rows_duplicate", "rows_rejected")


def test_a_worker_killed_while_it_takes_trades(service: Service, alice: Client) -> None:
    symbol = f"T{uuid4().hex[:12]}"
    text = gzip.decompress((market.SAMPLE / "BTCUSDT-trades.csv.gz").read_bytes())
    data = text.replace(b",BTCUSDT,", f",{symbol},".encode())
    request = {"source": {"type": "file", "timestamp_unit": "ms"}, "kind": "ticks"}
    form = {"file": ("trades.csv", data), "request": (None, json.dumps(request))}
    with service.frozen("questdb"):
        answer = alice.send("POST", "/api/v1/ingestions", files=form)
        assert answer.status_code == 202, answer.text
        service.ingesting(answer.json()["id"])
        service.kill_children("worker")
    job = alice.succeeded(answer.json()["id"], "ingestions")
    assert job["attempt"] == 2
    assert [job[name] for name in COUNTS] == [19_904, 19_904, 0, 0]
    assert alice.get(f"/instruments/{symbol}")["rows"] == 19_904
    sql = "SELECT count(), count_distinct(trade_id) FROM ticks WHERE symbol = %s"
    assert service.stores.questdb.fetch(sql, (symbol,)) == [(19_904, 19_904)]
    backtest = alice.succeeded(alice.submit(symbols=[symbol], interval="tick"))
    assert backtest["data"]["source"] == {"kind": "ticks", "interval": None}
    assert backtest["data"]["rows"] == len({line.split(b",")[1] for line in data.splitlines()[1:]})
