"""The four servers as every other test meets them."""

from __future__ import annotations

import psycopg
import pytest
import redis

from deploy.native.stack import Stack


def test_postgres_is_reached_with_its_password_only(stack: Stack) -> None:
    url = stack.env["CIFT_POSTGRES_URL"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("cift",)
    secret = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(secret, "guess"))
    with pytest.raises(psycopg.OperationalError, match="no pg_hba.conf entry"):
        psycopg.connect(url.replace("cift:", "postgres:"))


def test_redis_policies_and_password(stack: Stack) -> None:
    with redis.Redis.from_url(stack.env["CIFT_BROKER_URL"]) as broker:
        assert broker.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
