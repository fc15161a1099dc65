"""A static server in a process of its own: one prepared body for every GET.

`python -m benchmarks._server FILE [WARM_UP_FILE]` prints its port on 127.0.0.1 and serves until its
standard input ends, so it cannot outlive the process that started it. Requests for the project
`proj_warm_up` get WARM_UP_FILE. A thread per connection hands the file to the kernel with
`sendfile`; connections are kept alive.

It must never be what limits a contender: `ceiling()` reads the body with nothing but a socket and
says how fast that was. A contender near this figure is measuring the server. Server and contender
share the machine's cores: with fewer than two of them the figures are worth nothing.
"""

import contextlib
import http
import socket
import socketserver
import sys
import threading
import time
from pathlib import Path

HOST = "127.0.0.1"
WARM_UP_PROJECT = "proj_warm_up"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, body: Path, warm_up: Path) -> None:
        super().__init__((HOST, 0), _Handler)
        self.body = body
        self.warm_up = warm_up


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client went away: its own business
            while request := self._read_request():
                self._answer(request)

    def _read_request(self) -> bytes:
        """Read one request's head; return its first line, empty at the connection's end."""
        request = self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return request

    def _answer(self, request: bytes) -> None:
        if not request.startswith(b"GET "):
            self._send_head(http.HTTPStatus.METHOD_NOT_ALLOWED, 0)
            return
        warm_up = f"/{WARM_UP_PROJECT}/".encode() in request
        path = self.server.warm_up if warm_up else self.server.body
        with path.open("rb") as file:
            self._send_head(http.HTTPStatus.OK, path.stat().st_size)
            self.connection.sendfile(file)

    def _send_head(self, status: http.HTTPStatus, length: int) -> None:
        self.connection.sendall(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
        )


def ceiling(port: int, *, requests: int = 10) -> float:
    """Return the server's own speed in MB/s: the fastest of some requests that parse nothing."""
    buffer = memoryview(bytearray(1 << 20))
    speeds = []
    with socket.create_connection((HOST, port), timeout=30) as connection:
        for _ in range(requests):
            start = time.perf_counter()
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            got = connection.recv_into(buffer)
            head, _, body = bytes(buffer[:got]).partition(b"\r\n\r\n")
            size_bytes = int(head.rpartition(b" ")[2])
            missing = size_bytes - len(body)
            while missing and (got := connection.recv_into(buffer)):
                missing -= got
            if missing:
                raise ConnectionError(f"the server closed {missing} bytes before the end")
            speeds.append(size_bytes / 1e6 / (time.perf_counter() - start))
    return max(speeds)


def main(body: str, warm_up: str = "") -> None:
    """Serve until standard input ends."""
    with _Server(Path(body), Path(warm_up or body)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.buffer.read()
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
