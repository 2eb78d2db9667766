"""Whether the consumer stands still while messages wait, as a prober sees it."""

from cift_core.services.consumer_lag import STALLED_S, ConsumerLag, Progress
from cift_core.stores.kafka import Kafka, Position


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def seen(*rounds: tuple[int, int]) -> float:
    """For how long a reader has stood that was seen at these (next, end), ten seconds apart."""
    clock = Clock()
    progress, found = Progress(clock), 0.0
    for following, end in rounds:
        found = progress.stalled_s([Position(0, following, end)])
        clock.now += 10
    return found


def test_a_reader_that_moves_is_not_stalled() -> None:
    assert seen((0, 5), (1, 9), (2, 20)) == 0


def test_a_reader_that_stands_before_messages_is() -> None:
    assert seen((3, 5), (3, 5), (3, 90)) == 20


def test_a_reader_with_nothing_to_read_is_not_and_its_time_begins_there() -> None:
    assert seen((5, 5), (5, 5), (5, 5)) == 0
    assert seen((5, 5), (5, 5), (5, 6), (5, 6)) == 20


def test_the_longest_standing_partition_counts() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.stalled_s([Position(0, 1, 2), Position(1, 1, 2)])
    clock.now = 30
    assert progress.stalled_s([Position(0, 2, 3), Position(1, 1, 2)]) == 30


def test_the_check_says_how_many_wait_and_for_how_long(kafka: Kafka) -> None:
    clock = Clock()
    lag = ConsumerLag(kafka, Progress(clock))
    (check,) = lag.checks()
    assert check.healthy
    waiting = sum(position.lag for position in kafka.positions())
    clock.now = STALLED_S + 1
    (check,) = lag.checks()
    assert check.healthy is (waiting == 0)
    if waiting:
        assert check.reason == f"market-data has {waiting:,} messages waiting; none was taken for 61 s."
