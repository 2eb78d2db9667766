"""gunicorn's threaded worker with threads kept free for probes, and with problems where it refuses itself."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any
from uuid import uuid4

from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker
from werkzeug.http import HTTP_STATUS_CODES

from cift_core.logs import logger
from cift_web.problems import DEFECT, MEDIA_TYPE, code_of, problem_body

_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "The request line is longer than the 4,094 bytes that are taken: shorten the path or the query.",
    ),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request has more than 100 headers, or one longer than 8,190 bytes.",
    ),
    errors.ExpectationFailed: (
        HTTPStatus.EXPECTATION_FAILED,
        "100-continue is the only value that `Expect` may have.",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "A body is sent whole or chunked; no other `Transfer-Encoding` is known.",
    ),
    errors.ConfigurationProblem: (HTTPStatus.INTERNAL_SERVER_ERROR, DEFECT),
    errors.InvalidResponseHeader: (HTTPStatus.INTERNAL_SERVER_ERROR, DEFECT),
    errors.InvalidResponseHeaderName: (HTTPStatus.INTERNAL_SERVER_ERROR, DEFECT),
    errors.ParseException: (HTTPStatus.BAD_REQUEST, "This is no HTTP request: {error}."),
}
PROBE_THREADS = 8
_PROBE = re.compile(rb"(GET|HEAD) /(live|ready)[ ?]")
_PEEKED_BYTES = 16
_log = logger(__name__)


class ProblemWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gthread, whose every answer is a problem when it is not the application's.

    `/live` and `/ready` have threads of their own, so that they are answered whatever all others wait for: a
    store that hangs, a client that is slow. A connection gets a thread when it shows what it asks for.
    """

    def init_process(self) -> None:
        """Serve until told to stop."""
        self._probes = ThreadPoolExecutor(PROBE_THREADS, "probe")
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """Have the connection's next request answered by a thread, once it begins to arrive."""
        begin = _peek(conn.sock)
        if begin is None and not conn.data_ready:
            conn.timeout = time.monotonic() + DEFAULT_WORKER_DATA_TIMEOUT
            self.pending_conns.append(conn)
            readable = partial(self.on_pending_socket_readable, conn)
            self.poller.register(conn.sock, EVENT_READ, readable)
            return
        conn.data_ready = True
        threads = self._probes if _PROBE.match(begin or b"") else self.tpool
        answered = threads.submit(self.handle, conn)
        answered.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what went wrong outside of the application."""
        status, detail = next(
            (_REFUSALS[kind] for kind in type(exc).__mro__ if kind in _REFUSALS),
            (HTTPStatus.INTERNAL_SERVER_ERROR, DEFECT),
        )
        request_id = uuid4().hex
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("unexpected_error", request_id=request_id, exc_info=exc)
        else:
            ip = addr[0] if isinstance(addr, tuple) else None  # of a Unix socket there is none
            _log.info("request_refused", request_id=request_id, status=status, reason=str(exc), ip=ip)
        sentence, path = detail.format(error=exc), getattr(req, "path", "")
        problem = problem_body(status, code_of(status), sentence, instance=path, request_id=request_id)
        body = json.dumps(problem).encode()
        head = (
            f"HTTP/1.1 {status:d} {HTTP_STATUS_CODES[status]}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
        )
        try:
            write_nonblock(client, head.encode() + body)
        except OSError:
            _log.info("client_gone", request_id=request_id)


def _peek(sock: socket.socket) -> bytes | None:
    """How the bytes begin that wait to be read, b"" of a closed connection; None: there are none yet."""
    try:
        return sock.recv(_PEEKED_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
