"""A feed through the running service, whose parts are killed in mid-stream: every trade is there, once."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from cift_core.services.ingestion_requests import full_request
from cift_core.services.market_replay import Replayed, replay
from cift_core.stores.kafka_producer import Producer
from deploy.native import environment
from deploy.native.environment import CHECKOUT
from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.waiting import wait_for

TRADES, SECONDS = 19_904, 658.0
COLUMNS = {"timestamp": "timestamp", "price": "price", "size": "quantity", "trade_id": "trade_id"}
COUNT = "SELECT count(), count_distinct(trade_id) FROM ticks WHERE symbol = %s"


def taken(service: Service) -> bool:
    return all(position.lag == 0 for position in service.stores.kafka.positions())


def stored(service: Service, symbol: str) -> tuple[int, int]:
    service.stores.questdb.wait_visible("ticks")
    ((rows, ids),) = service.stores.questdb.fetch(COUNT, (symbol,))
    return int(rows), int(ids)


class Replay(threading.Thread):
    """The sample's trades under another symbol, over so many seconds."""

    def __init__(self, service: Service, symbol: str, seconds: float) -> None:
        super().__init__()
        self._settings = replace(service.stores.settings, data_dir=CHECKOUT / "data" / "sample")
        source = {"type": "file", "path": "BTCUSDT-trades.csv.gz", "timestamp_unit": "ms", "columns": COLUMNS}
        self._request = full_request(
            self._settings, {"source": source, "kind": "ticks", "symbol": symbol}, None
        )
        self._producer = Producer(service.stores.kafka.bootstrap_servers)
        self._seconds = seconds
        self.done: Replayed | None = None

    def run(self) -> None:
        with self._producer:
            self.done = replay(self._settings, self._producer, self._request, SECONDS / self._seconds)


def test_kill_9_of_each_part_in_mid_stream_loses_and_doubles_nothing(service: Service) -> None:
    wait_for(lambda: taken(service))
    symbol = f"K{uuid4().hex[:10]}"
    feed = Replay(service, symbol, 15)
    feed.start()
    wait_for(lambda: stored(service, symbol)[0] > 0, what="the first trades are stored")
    for name in ("consumer", "questdb", "kafka", "consumer"):
        service.kill(name)
    feed.join()
    assert feed.done is not None
    assert feed.done.rows == TRADES
    wait_for(lambda: taken(service), 120, what="all is taken")
    wait_for(lambda: stored(service, symbol) == (TRADES, TRADES), what=lambda: stored(service, symbol))


def test_the_command_sends_a_file_and_its_trades_are_read_over_the_api(
    service: Service, alice: Client, tmp_path: Path
) -> None:
    symbol = f"K{uuid4().hex[:10]}"
    file = tmp_path / "trades.csv"
    file.write_text("time,price,size\n1,2.5,1\n1,2.5,1\n2,x,1\n")
    cift = [str(Path(sys.executable).with_name("cift")), "produce", str(file)]
    options = ["--kind", "ticks", "--symbol", symbol, "--timestamp-unit", "s", "--speed", "10x"]
    env = environment.foreign() | service.stack.env
    done = subprocess.run([*cift, *options], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "2 rows sent in 1 messages, 1 refused",
        'line 4: price "x" is not a number',
    ]
    wait_for(lambda: stored(service, symbol)[0] == 2)
    items = alice.get("/ticks", symbol=symbol)["items"]
    assert [(item["price"], item["trade_id"], item["server_time"]) for item in items] == [
        (2.5, 0, False),
        (2.5, 1, False),
    ]
    wrong = subprocess.run(
        [*cift, "--kind", "ticks"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert wrong.returncode == 1
    assert "/symbol: is missing, and the file has no column for it" in wrong.stderr


def test_told_to_stop_the_consumer_leaves_the_group_and_nothing_behind(service: Service) -> None:
    before = service.log("consumer").count('"event": "consumer.ended"')
    with service.stopped("consumer"):
        assert service.log("consumer").count('"event": "consumer.ended"') == before + 1
        details = service.stores.kafka
        assert all(position.lag == 0 for position in details.positions())
