"""Flower as an operator's window: it shows workers and tasks, and can change neither.

Flower has no switch for this, so the routes that change something are taken out before it starts.
`python -m cift_tasks.flower`; options come from the environment (`FLOWER_BASIC_AUTH`, `FLOWER_PORT`, ...).
"""

import sys
from typing import Any

from celery.__main__ import main as celery
from flower.urls import handlers


def changes_something(route: Any) -> bool:
    """Whether a route of Flower's API takes a POST: shut a worker down, revoke or send a task, ..."""
    handler = route[1] if isinstance(route, tuple) else route.handler_class
    return handler.__module__.startswith("flower.api.") and "post" in vars(handler)


def main() -> None:
    """Run Flower until it is told to end."""
    handlers[:] = [route for route in handlers if not changes_something(route)]
    sys.argv[1:] = ["-A", "cift_tasks.app", "flower"]
    celery()


if __name__ == "__main__":
    main()
