"""`cift backtest`: submit one, wait, print its figures."""

import json
import sys
from typing import Any, TextIO

import click

from cift_web.cli.api import Api, Json
from cift_web.cli.jobs import described
from cift_web.cli.output import REFUSED, json_option, show


class Setting(click.ParamType[tuple[str, Any]]):
    """`name=value`, the value as JSON or else as text."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """The name and the value."""
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not like name=value", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


@click.command()
@click.argument("strategy", required=False)
@click.argument("symbols", nargs=-1, metavar="SYMBOL...")
@click.option("--interval", default="1d", show_default=True, help="The bars' interval: 1m, 1h, 1d, ...")
@click.option("--param", "params", type=Setting(), multiple=True, help="A parameter of the strategy.")
@click.option(
    "--execution", type=Setting(), multiple=True, help="A field of execution, such as commission_rate."
)
@click.option("--start", help="First moment, inclusive, such as 2010-01-01T00:00:00Z.")
@click.option("--end", help="Last moment, exclusive.")
@click.option("--cash", type=float, default=10_000.0, show_default=True)
@click.option(
    "--prices", type=click.Choice(["adjusted", "raw"]), help="Adjusted where there are such, unless given."
)
@click.option("--tag", "tags", multiple=True, help="To find it by in lists.")
@click.option(
    "--file", "file", type=click.File(), help="The whole request as JSON (- is standard input) instead."
)
@click.option("--no-wait", is_flag=True, help="Print the job's id and leave.")
@json_option
def backtest(file: TextIO | None, no_wait: bool, as_json: bool, **given: Any) -> None:
    """Run a backtest of STRATEGY on SYMBOL, or on several with one cash account, and print its figures.

    GET /api/v1/strategies/catalog lists the strategies with their parameters. Ends with 1 when it failed.

    \b
      cift backtest sma_cross AAPL --param fast=10 --param slow=20 --execution commission_rate=0.001
      cift backtest rsi_reversion XAUUSD --interval 1h --execution 'size={"type": "units", "value": 3}'
      cift backtest momentum_rotation AAPL IBM MSFT --param top=1
      cift backtest --file request.json --json | jq .metrics.sharpe
    """
    if (file is None) != (given["strategy"] is not None and given["symbols"] != ()):
        raise click.UsageError("Name a STRATEGY and a SYMBOL, or give the whole request with --file.")
    api = Api()
    accepted = api.post("/api/v1/backtests", _request(given) if file is None else _read(file))
    if no_wait:
        show(accepted, str(accepted["id"]), as_json)
        return
    job = api.wait(accepted["links"]["self"], "backtest", quiet=as_json)
    show(job, lambda: described(job), as_json)
    if job["status"] != "succeeded":
        sys.exit(REFUSED)


def _request(given: dict[str, Any]) -> Json:
    optional = {name: given[name] for name in ("start", "end", "prices") if given[name] is not None}
    return {
        "strategy": {"name": given["strategy"], "params": dict(given["params"])},
        "symbols": list(given["symbols"]),
        "interval": given["interval"],
        "cash": given["cash"],
        "execution": dict(given["execution"]),
        "tags": list(given["tags"]),
        **optional,
    }


def _read(file: TextIO) -> Json:
    try:
        request = json.load(file)
    except ValueError as error:
        raise click.UsageError(f"{file.name} is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise click.UsageError(f"{file.name} must hold one JSON object.")
    return request
