"""Who is asking: the API key of a request, and what it may do."""

from dataclasses import replace

from flask import g, request
from sqlalchemy.orm import Session

from cift_core.errors import Forbidden, Unauthenticated
from cift_core.logs import bind_context
from cift_core.services import api_keys
from cift_core.services.api_keys import Principal
from cift_core.services.audit import Actor
from cift_web.database import stores

MAX_USER_AGENT_CHARS = 512


def identify(session: Session) -> Principal:
    """Whose key the request carries.

    Raises:
        Unauthenticated: it carries none, or one that does not hold.
    """
    g.actor = client = _client()
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "no_key", "This needs an API key: send the header `Authorization: Bearer cift_<key id>_<secret>`."
        )
    g.actor = replace(client, key_prefix=api_keys.key_prefix(token))
    principal = api_keys.authenticate(session, stores().settings, token)
    g.principal = principal
    g.actor = replace(g.actor, user_id=principal.user_id)
    bind_context(user_id=str(principal.user_id))
    return principal


def require_scope(principal: Principal, scope: str | None) -> None:
    """Let pass who has the scope; None asks for any valid key.

    Raises:
        Forbidden: the key lacks it.
    """
    if scope is not None and scope not in principal.scopes:
        has = ", ".join(sorted(principal.scopes))
        raise Forbidden(
            "missing_scope", f"This needs the scope {scope}; the API key {principal.prefix} has {has}."
        )


def current_principal() -> Principal:
    """Whose request this is, in a view that asks for a key."""
    principal: Principal = g.principal
    return principal


def _client() -> Actor:
    agent = "".join(c for c in request.headers.get("User-Agent", "") if c.isprintable())
    return Actor(
        user_id=None,
        key_prefix=None,
        ip=request.remote_addr,
        user_agent=agent[:MAX_USER_AGENT_CHARS] or None,
        request_id=g.request_id,
    )
