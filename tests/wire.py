"""A length of wire before a real server: it can be slow, it can break, and it knows how many use it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

CHUNK_BYTES = 65_536


class Wire:
    """Relays TCP connections to the server of a URL.

    Every answer is `latency_s` late; the next `answers_to_lose` answers are dropped and their connection is
    broken, after the server did what it was asked. `most` is how many connections there were at once.
    """

    def __init__(self, url: str, *, latency_s: float = 0.0) -> None:
        self._parts = urlsplit(url)
        self.latency_s = latency_s
        self.answers_to_lose = 0
        self.now = self.most = self.ever = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._ends: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        """The server's URL by way of this wire."""
        port = self._listener.getsockname()[1]
        login = self._parts.netloc.rpartition("@")[0]
        parts: SplitResult = self._parts._replace(netloc=f"{login}@127.0.0.1:{port}")
        return parts.geturl()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._break(*self._ends)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    client, _ = self._listener.accept()
                    server = socket.create_connection((self._parts.hostname, self._parts.port))
                except OSError:
                    return
                self._ends += [client, server]
                with self._lock:
                    self.now += 1
                    self.ever += 1
                    self.most = max(self.most, self.now)
                self._start(self._relay_questions, client, server)
                self._start(self._relay_answers, client, server)

    def _relay_questions(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK_BYTES):
                server.sendall(data)
        self._break(client, server)

    def _relay_answers(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while data := server.recv(CHUNK_BYTES):
                if self.answers_to_lose:
                    self.answers_to_lose -= 1
                    break
                time.sleep(self.latency_s)
                client.sendall(data)
            self._break(client, server)
        with self._lock:
            self.now -= 1

    @staticmethod
    def _break(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
