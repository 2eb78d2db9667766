"""The URLs of the settings, shown and handed on."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import URL

from cift_core.settings import masked
from cift_core.stores.postgres import sqlalchemy_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://cift:p%40s%3As@db:5432/cift", "postgresql://cift:***@db:5432/cift"),
        ("postgresql://cift@db/cift", "postgresql://cift@db/cift"),
        ("redis://:pass@[::1]:6379/0", "redis://:***@[::1]:6379/0"),
        ("redis://:@redis/0", "redis://:***@redis/0"),
        ("redis://redis/0", "redis://redis/0"),
        (
            "postgresql://db/cift?user=cift&Password=s3cret&sslpassword=t0p&sslmode=require",
            "postgresql://db/cift?user=cift&Password=***&sslpassword=***&sslmode=require",
        ),
    ],
)
def test_masked_urls(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize("password", ["p@ss/w:rd", "a b+c%", "ünï€", "'\";--", "100%25"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_sqlalchemy_url_keeps_every_character_of_the_password(scheme: str, password: str) -> None:
    given = URL.create(scheme, "us@r", password, "db", 6543, "cift", {"sslmode": "require"})
    url = sqlalchemy_url(given.render_as_string(hide_password=False))
    assert url == given.set(drivername="postgresql+psycopg")
    assert url.password == password
    assert password not in repr(url)
