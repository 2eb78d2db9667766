"""The limits to measure against: an endpoint that only asks PostgreSQL `SELECT 1`, and a no-op task."""

from __future__ import annotations

import os

from celery import Celery
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

from cift_core.stores.postgres import engine_options, sqlalchemy_url

noop_app = Celery("noop", broker=os.environ["CIFT_BROKER_URL"], backend=os.environ["CIFT_CACHE_URL"])
noop_app.conf.update(task_default_queue="bench-noop", task_acks_late=True, worker_prefetch_multiplier=1)


@noop_app.task(name="bench.noop")  # type: ignore[untyped-decorator]
def noop() -> None:
    """Nothing: what is left is the way there and back."""


def create_app() -> Flask:
    """`GET /` answers after one pooled `SELECT 1`, on the product's own pool settings."""
    app = Flask("bare")
    url = os.environ["CIFT_POSTGRES_URL"]
    app.config["SQLALCHEMY_DATABASE_URI"] = sqlalchemy_url(url)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url, 20, 10)
    database = SQLAlchemy(app)

    @app.get("/")
    def select_one() -> dict[str, int]:
        return {"one": database.session.execute(text("SELECT 1")).scalar_one()}

    return app
