"""The web's session (`db.session`, one per request) and the stores of this process."""

from typing import cast

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from cift_core.models import Base
from cift_core.services.health import Health
from cift_core.services.hot_data import HotData
from cift_core.settings import Settings
from cift_core.stores import Stores, open_stores
from cift_core.stores.postgres import engine_options, sqlalchemy_url

POOL_SIZE, MAX_OVERFLOW = 20, 10
db = SQLAlchemy(
    metadata=Base.metadata, session_options={"expire_on_commit": False}, add_models_to_shell=False
)


def bind_stores(app: Flask, settings: Settings) -> None:
    """Give the app its stores and its session; no socket is opened before the first use."""
    opened = open_stores(settings, "web")
    app.extensions["stores"] = opened
    app.extensions["hot_data"] = HotData(opened.cache)
    app.extensions["health"] = Health(opened)
    app.config["SQLALCHEMY_DATABASE_URI"] = sqlalchemy_url(settings.postgres_url)
    options = engine_options(settings.postgres_url, POOL_SIZE, MAX_OVERFLOW)
    # `transaction` begins one; to begin none saves the pool's ping and `reading` the way there and back
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options | {"isolation_level": "AUTOCOMMIT"}
    db.init_app(app)


def stores() -> Stores:
    """The stores of the current app."""
    return cast(Stores, current_app.extensions["stores"])


def hot_data() -> HotData:
    """What the current app keeps in the cache."""
    return cast(HotData, current_app.extensions["hot_data"])
