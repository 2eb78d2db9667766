"""How often a key may ask and an address may fail to log in; all in the cache, in windows of a minute."""

from ipaddress import IPv6Address, ip_address

from flask import request

from cift_core.errors import RateLimited
from cift_core.services.api_keys import Principal
from cift_web.database import stores

WINDOW_S = 60


def limit_requests(principal: Principal, *, submits: bool) -> None:
    """Let pass while the key stays below its requests, and for a submit below its submits, a minute.

    Raises:
        RateLimited: the key asked too often.
    """
    settings = stores().settings
    key = f"the API key {principal.prefix}"
    _limit(f"requests:{principal.prefix}", settings.requests_per_minute, f"{key} may send", "requests")
    if submits:
        _limit(f"submits:{principal.prefix}", settings.submits_per_minute, f"{key} may submit", "jobs")


def limit_failed_logins() -> None:
    """Let pass while the client's address stays below its failed log-ins a minute.

    A right key is let in from any address: one neighbour's broken client must not lock the others out, and
    256 random bits are not found by trying.

    Raises:
        RateLimited: too many failed from this address.
    """
    allowed = stores().settings.failed_logins_per_minute
    _limit(f"failed:{_network()}", allowed, "from one address there may be", "failed log-ins")


def _limit(key: str, allowed: int, who: str, what: str) -> None:
    rates = stores().rates
    count = rates.count(key, WINDOW_S)
    if count > allowed:
        left_s = rates.seconds_left(key)
        sentence = f"Too often: {who} {allowed:,} {what} a minute. Try again in {left_s} s."
        raise RateLimited("rate_limited", sentence, left_s, first=count == allowed + 1)


def _network() -> str:
    """The client's address; of IPv6 its /64, in which one client has all."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"  # a proxy that we were told to believe says something else
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
