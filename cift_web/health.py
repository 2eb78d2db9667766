"""Whether the process lives and whether its stores answer: for probes, so without a key."""

from typing import Any

from flask import Response, current_app, jsonify
from marshmallow import fields
from marshmallow.validate import OneOf

from cift_core.services.health import Health
from cift_web.resources import PUBLIC, Resource
from cift_web.schemas import AnswerSchema, RequestSchema, Text

health = Resource("health", description="Is it alive, is it ready.")


class Live(AnswerSchema):
    """The process answers."""

    live = fields.Boolean(required=True)


class Ready(AnswerSchema):
    """Whether every store answers; `details` of these, of Kafka, workers and beat only when asked for."""

    ready = fields.Boolean(required=True)
    checks = fields.Dict(
        keys=fields.String(), values=fields.String(validate=OneOf(["healthy", "unhealthy"])), required=True
    )
    details = fields.Dict(keys=fields.String(), values=fields.Dict())


class ReadyQuery(RequestSchema):
    """What to tell."""

    verbose = Text(
        metadata={
            "description": "Given with any value: also latency and reason of each store, Kafka included, of "
            "the consumer (whether messages wait that nobody takes), of workers (the longest round trip of a "
            "task) and of beat (the age of its last message)."
        },
    )


_NOT_READY = {
    "description": "A store does not answer.",
    "content": {"application/json": {"schema": Ready}},
}


@health.operation("GET", "/live", access=PUBLIC, answer=Live())
def live() -> Response:
    """Whether the process answers

    Touches no store.
    """
    return jsonify(live=True)


@health.operation(
    "GET",
    "/ready",
    access=PUBLIC,
    query=ReadyQuery(),
    answer=Ready(),
    doc={"responses": {"503": _NOT_READY}},
)
def ready(query: dict[str, Any]) -> Response:
    """Whether every store answers

    Real queries, side by side, each under its own deadline.
    """
    probes: Health = current_app.extensions["health"]
    body = probes.readiness(verbose="verbose" in query)
    response = jsonify(body)
    response.status_code = 200 if body["ready"] else 503
    return response
