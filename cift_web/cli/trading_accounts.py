"""`cift trading-accounts`: what an operator does with the brokers' credentials."""

from uuid import UUID

import click

from cift_core.errors import Conflict
from cift_core.services import trading_accounts as service
from cift_web.cli.operator import audit_command, operator_stores
from cift_web.cli.output import json_option, show


@click.group("trading-accounts")
def trading_accounts() -> None:
    """Accounts with brokers."""


@trading_accounts.command("reencrypt")
@json_option
def reencrypt(as_json: bool) -> None:
    """Encrypt all credentials with the first key of CIFT_ENCRYPTION_KEYS.

    \b
    To rotate the key:
      1. put a new key before the old one, with a comma between them, for every process, and restart them;
      2. run this command: it reads with both keys and writes with the new one; it may be repeated;
      3. leave the old key out, and restart.

    Credentials that no key opens stay as they are; they are named, and the command ends with 1.
    """
    changed, unreadable, last = 0, list[UUID](), None
    with operator_stores() as stores:
        while True:
            with stores.postgres.transaction() as session:
                count, failed, last = service.reencrypt(session, stores.settings, last)
                if count:
                    details = {"accounts": count}
                    audit_command(session, "reencrypt_trading_accounts", "trading_accounts", None, details)
            changed, unreadable = changed + count, unreadable + failed
            if last is None:
                break
    sentence = f"Encrypted the credentials of {changed} trading accounts with the newest key."
    show({"reencrypted": changed, "unreadable": unreadable}, sentence, as_json)
    if unreadable:
        named = ", ".join(map(str, unreadable))
        raise Conflict("credentials_unreadable", f"No key opens the credentials of these: {named}")
