"""The web process: `gunicorn 'cift_web.app:create_app()'`."""

from typing import Any, cast

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from cift_core.logs import configure_logs
from cift_core.settings import Settings, load_settings
from cift_tasks.health import start_watching
from cift_web.alerts import alerts
from cift_web.api_keys import api_keys
from cift_web.audit_logs import audit_logs
from cift_web.backtests import backtests
from cift_web.database import bind_stores
from cift_web.health import health
from cift_web.ingestions import ingestions
from cift_web.instruments import instruments
from cift_web.market_data import market_data
from cift_web.model_configs import model_configs
from cift_web.openapi import Api
from cift_web.problems import register_problem_handlers
from cift_web.prometheus import count_request, prometheus
from cift_web.requests import register_request_hooks
from cift_web.strategies import strategies
from cift_web.trading_accounts import trading_accounts
from cift_web.trading_strategies import trading_strategies
from cift_web.users import users

RESOURCES = (
    health,
    users,
    api_keys,
    audit_logs,
    strategies,
    trading_strategies,
    model_configs,
    trading_accounts,
    backtests,
    ingestions,
    instruments,
    market_data,
    alerts,
    prometheus,
)


def create_app(settings: Settings | None = None) -> Flask:
    """The application, on the settings of the environment, or on others.

    On those of the environment it is a process of the service, and watches stores, queues, workers and beat
    from a thread of its own. Otherwise nothing is connected before the first request.

    Raises:
        SettingsError: the environment is unusable.
    """
    in_service = settings is None
    settings = settings or load_settings()
    configure_logs(settings.log_level, settings.log_format)
    app = Flask("cift_web", static_folder=None)
    app.url_map.merge_slashes = False
    bind_stores(app, settings)
    register_request_hooks(app)
    app.after_request(count_request)
    _register_resources(app)
    register_problem_handlers(app)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    if in_service:
        start_watching(app.extensions["stores"], app.extensions["health"])
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document; it depends on no setting and no store."""
    return cast("dict[str, Any]", _register_resources(Flask("cift_web", static_folder=None)).spec.to_dict())


def _register_resources(app: Flask) -> Api:
    api = Api(app)
    for resource in RESOURCES:
        api.register_blueprint(resource)
    return api
