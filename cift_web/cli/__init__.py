"""The `cift` command: what operators and users do at a terminal, one file for each noun."""

from typing import Any

import click

from cift_core.errors import CiftError, StoreUnavailable
from cift_core.settings import SettingsError
from cift_web.cli.api import ApiRefused, ApiUnreachable
from cift_web.cli.lazy import LazyGroup
from cift_web.cli.output import REFUSED, UNAVAILABLE, UNUSABLE


class Cift(LazyGroup):
    """Turns every foreseen error into one sentence on standard error and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """What the command returns, which is nothing."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            _end(ctx, error, UNUSABLE)
        except (StoreUnavailable, ApiUnreachable) as error:
            _end(ctx, error, UNAVAILABLE)
        except (CiftError, ApiRefused) as error:
            _end(ctx, error, REFUSED)


def _end(ctx: click.Context, error: Exception, code: int) -> None:
    click.echo(f"cift: {error}", err=True)
    ctx.exit(code)


@click.group(
    cls=Cift,
    lazy={
        "audit": "cift_web.cli.audit:audit",
        "backtest": "cift_web.cli.backtests:backtest",
        "consume": "cift_web.cli.market_stream:consume",
        "health": "cift_web.cli.health:health",
        "ingest": "cift_web.cli.ingestions:ingest",
        "instruments": "cift_web.cli.instruments:instruments",
        "jobs": "cift_web.cli.jobs:jobs",
        "keys": "cift_web.cli.keys:keys",
        "migrate": "cift_web.cli.migrate:migrate",
        "produce": "cift_web.cli.market_stream:produce",
        "trading-accounts": "cift_web.cli.trading_accounts:trading_accounts",
        "users": "cift_web.cli.users:users",
        "workers": "cift_web.cli.workers:workers",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
def cift() -> None:
    """Backtests as a service: use it, and operate it.

    \b
    Users: these speak to the API at CIFT_URL (http://127.0.0.1:8000 unless set) with the key in CIFT_API_KEY.
      cift ingest prices.csv --kind bars --symbol AAPL --interval 1d
      cift backtest sma_cross AAPL --interval 1d --param fast=10 --param slow=20
      cift jobs ls

    \b
    Operators: these speak to the stores and the broker, with the settings of the service (CIFT_...).
      cift migrate
      cift users create ada@example.org
      cift keys create ada@example.org --name laptop --scope backtests:read --scope backtests:write
      cift workers drain
      cift produce trades.csv.gz --kind ticks --timestamp-unit ms --speed 10x

    With --json a command prints JSON for programs, and nothing else, on standard output.

    \b
    Exit codes: 0 done, 1 refused or the job failed, 2 wrong usage or settings, 3 the API or a store does not
    answer (try again).
    """


def main() -> None:
    """Run the command."""
    cift.main(prog_name="cift")
