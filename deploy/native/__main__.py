"""`python -m deploy.native up | down | status | logs | clean`: the stack under `.cift/`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from .environment import CHECKOUT, masked, port
from .errors import StackError
from .stack import Stack

ROOT = CHECKOUT / ".cift"

URLS = {
    "postgres": "CIFT_POSTGRES_URL",
    "redis-broker": "CIFT_BROKER_URL",
    "redis-cache": "CIFT_CACHE_URL",
    "questdb": "CIFT_QUESTDB_HTTP_URL",
    "kafka": "CIFT_KAFKA_BOOTSTRAP_SERVERS",
    "api": "CIFT_URL",
    "flower": "CIFT_FLOWER_URL",
}


@click.group()
def main() -> None:
    """Start, stop and look at the native stack."""


@main.command()
def up() -> None:
    """Start every server and process that does not run."""
    stack = Stack(ROOT, lasting=True)
    click.echo("The stack is up." if stack.up() else "The stack was up already.")
    _show(stack)


@main.command()
def down() -> None:
    """Stop everything; the data stays."""
    click.echo("The stack is down." if Stack(ROOT).down() else "The stack was down already.")


@main.command()
def status() -> None:
    """Show each process: state, pid, uptime, port, URL."""
    _show(Stack(ROOT))


@main.command()
def logs() -> None:
    """Show the end of every log, and follow them on a terminal."""
    files = sorted(str(path) for path in (ROOT / "log").glob("*.log"))
    if not files:
        raise StackError("There are no logs: the stack was never started.")
    follow = ["-F"] if sys.stdout.isatty() else []
    os.execvp("tail", ["tail", "-n", "20", *follow, *files])  # noqa: S606 - becomes `tail`


@main.command()
def clean() -> None:
    """Stop everything and delete its data."""
    Stack(ROOT).delete()


def _show(stack: Stack) -> None:
    found = stack.status()
    if not found:
        click.echo("The stack is down. Start it: make up")
        return
    env = stack.env
    for info in found:
        key = URLS.get(info["name"])
        address = f"{port(env, key):>5}  {masked(env[key])}" if key else ""
        process = f"{info['name']:<14}{info['statename']:<10}{info['pid']:>7}"
        click.echo(f"{process}  {_uptime(info):>9}  {address}")
    click.echo(f"Passwords, and Flower's login, are in {stack.root / 'env'}.")


def _uptime(info: dict[str, Any]) -> str:
    if not info["pid"]:
        return "-"
    minutes, seconds = divmod(info["now"] - info["start"], 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


if __name__ == "__main__":
    try:
        main()
    except StackError as error:
        sys.exit(f"{error}")
