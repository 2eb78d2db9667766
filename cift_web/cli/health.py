"""`cift health`: whether the service answers."""

import sys

import click

from cift_web.cli.api import Api, ApiUnreachable
from cift_web.cli.output import UNAVAILABLE, json_option, show, table


@click.command()
@json_option
def health(as_json: bool) -> None:
    """Ask the API at CIFT_URL whether it and every store answers; needs no key.

    Ends with 0 when the service is ready and with 3 when it is not.
    """
    status, body = Api(with_key=False).send("GET", "/ready?verbose")
    if "ready" not in body:
        raise ApiUnreachable(f"What answers at CIFT_URL is not the API of CIFT Markets (status {status}).")
    rows = [
        [name, detail["status"], detail["latency_ms"], detail["reason"]]
        for name, detail in body.get("details", {}).items()
    ]
    show(body, lambda: table(("check", "status", "latency_ms", "reason"), rows), as_json)
    if not body["ready"]:
        sys.exit(UNAVAILABLE)
