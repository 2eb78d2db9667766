"""The web process: `gunicorn 'cift_web.app:create_app()'`."""

from typing import Any, cast

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from cift_core.logs import configure_logs
from cift_core.settings import Settings, load_settings
from cift_web.backtests import backtests
from cift_web.database import bind_stores
from cift_web.health import health
from cift_web.ingestions import ingestions
from cift_web.openapi import Api
from cift_web.problems import register_problem_handlers
from cift_web.requests import register_request_hooks
from cift_web.strategies import strategies
from cift_web.users import users

RESOURCES = (health, users, strategies, backtests, ingestions)


def create_app(settings: Settings | None = None) -> Flask:
    """The application, on the settings of the environment unless others are given.

    Nothing is connected before the first request, so it may be built before or after a fork.

    Raises:
        SettingsError: the environment is unusable.
    """
    settings = settings or load_settings()
    configure_logs(settings.log_level, settings.log_format)
    app = Flask("cift_web", static_folder=None)
    app.url_map.merge_slashes = False
    bind_stores(app, settings)
    register_request_hooks(app)
    _register_resources(app)
    register_problem_handlers(app)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document; it depends on no setting and no store."""
    return cast("dict[str, Any]", _register_resources(Flask("cift_web", static_folder=None)).spec.to_dict())


def _register_resources(app: Flask) -> Api:
    api = Api(app)
    for resource in RESOURCES:
        api.register_blueprint(resource)
    return api
