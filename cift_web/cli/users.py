"""`cift users`: the people who use the service."""

import sys

import click
from sqlalchemy import select

from cift_core.models import User
from cift_core.services import users as service
from cift_web.cli.operator import audit_command, operator_stores
from cift_web.cli.output import json_option, show, table


@click.group()
def users() -> None:
    """The people who use the service."""


@users.command("create")
@click.argument("email")
@click.option("--admin", is_flag=True, help="May hold keys with the scope admin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
def create_user(email: str, admin: bool, password_stdin: bool, as_json: bool) -> None:
    """Create a user.

    The password is asked for, hidden and twice, unless it comes on standard input.

    \b
      cift users create ada@example.org
      pass show ada | cift users create ada@example.org --password-stdin
    """
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with operator_stores() as stores, stores.postgres.transaction() as session:
        user = service.create_user(session, stores.settings, email, password, is_admin=admin)
        audit_command(session, "create_user", "users", user.id, {"is_admin": admin})
    show({"id": user.id, "email": user.email, "is_admin": user.is_admin}, f"Created {user.email}.", as_json)


@users.command("ls")
@json_option
def list_users(as_json: bool) -> None:
    """List all users, by address."""
    with operator_stores() as stores, stores.postgres.transaction() as session:
        found = [
            {
                "id": user.id,
                "email": user.email,
                "is_admin": user.is_admin,
                "is_active": user.is_active,
                "created_at": user.created_at,
            }
            for user in session.scalars(select(User).order_by(User.email))
        ]
    names = ("email", "is_admin", "is_active", "created_at", "id")
    show(found, lambda: table(names, [[user[name] for name in names] for user in found]), as_json)
