"""`python -m tests.peers` compares a sample of the cases with each library and prints what came of it;
`--whole` takes all of them (minutes)."""

import sys

from tests.peers import on_backtrader, on_vectorbt
from tests.peers.cases import grid, put_to, sampled


def main() -> int:
    faults = 0
    for name, peer in (("vectorbt", on_vectorbt), ("backtrader", on_backtrader)):
        every = [case for case in grid() if peer.can(case)]
        tally = put_to(peer, every if "--whole" in sys.argv[1:] else sampled(every, peer.SAMPLE))
        lines = [f"{name}: {tally.cases} of {len(every)} cases, {tally.trades} trades"]
        lines += [f"  {count} times: {why}" for why, count in sorted(tally.departures.items())]
        lines += [f"  {len(tally.faults)} faults", *(f"    {fault}" for fault in tally.faults)]
        sys.stdout.write("\n".join(lines) + "\n")
        faults += len(tally.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
