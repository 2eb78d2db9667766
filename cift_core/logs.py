"""Structured logs: an event name plus fields, one JSON object a line on standard error."""

import logging
import sys
from typing import cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Logger = structlog.stdlib.BoundLogger


def logger(name: str) -> Logger:
    """The logger of a module; `request_id`, `task_id` and `job_id` are added from the context."""
    return cast(Logger, structlog.get_logger(name))


def configure_logs(level: str, log_format: str) -> None:
    """Send structlog and the standard library's logging (Celery, gunicorn, drivers) through one formatter."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    final: list[Processor] = [_drop_color_message, structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        final += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # the default prints the local variables of each frame: passwords and keys among them
        final += [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    # of the process, the thread and the caller nothing is written, so nothing need be found out for each line
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Kafka's client tells at length of each try to connect; whoever asked for one tells of it once
    logging.getLogger("kafka").setLevel(logging.WARNING)
    for name in ("connection", "manager", "transport"):
        logging.getLogger(f"kafka.net.{name}").setLevel(logging.CRITICAL)


def bind_context(**fields: object) -> None:
    """Add fields to every line logged from here on in this thread of work."""
    structlog.contextvars.bind_contextvars(**fields)


def clear_context() -> None:
    """Forget the bound fields; called at the edges (end of a request, end of a task)."""
    structlog.contextvars.clear_contextvars()


def _drop_color_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)
    return event
