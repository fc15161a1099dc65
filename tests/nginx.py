"""A real nginx on 127.0.0.1 between a client and what a test serves behind it.

    async with Nginx(tmp_path, f"proxy_pass {server.base_url};") as nginx:
        ...
    assert [request.status for request in nginx.requests] == [200]

After the block nginx has ended in order, and its log is complete.
"""

import asyncio
import json
import os
import pwd
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.peers import require
from tests.raw_server import finish_accepting

_MOST_SECONDS = 10.0  # for beginning and for ending; both take hundredths

_CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
worker_shutdown_timeout 5s;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 256; }}
http {{
    log_format requests escape=json
        '{{"status": $status, "body_bytes_sent": $body_bytes_sent, "connection": $connection,'
        ' "content_encoding": "$sent_http_content_encoding", "completion": "$request_completion",'
        ' "upstream_status": "$upstream_status"}}';
    access_log {directory}/access.log requests;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
        location / {{ {location} }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A line of nginx's access log."""

    status: int
    body_bytes_sent: int
    connection: int  # the number that nginx gave it
    content_encoding: str  # as sent; empty where there is none
    completion: str  # "OK", or empty where the answer was not sent to its end
    upstream_status: str  # of the server behind; "-" or empty where it was not asked


class Nginx:
    """Run nginx with these lines in its `http`, `server` and `location /` blocks; see the module.

    `directory` takes its configuration, logs and temporary files. Leaving `async with` raises
    `AssertionError` if nginx did not live, and end, in order.
    """

    def __init__(self, directory: Path, location: str, *, server: str = "", http: str = "") -> None:
        self.requests: list[LoggedRequest] = []
        """What it answered, in the order of the ends; filled after the block."""
        self._directory = directory
        self._program = require("nginx")
        self._blocks = {"location": location, "server": server, "http": http}

    @property
    def base_url(self) -> str:
        """The origin, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        # nginx takes over a socket that is listening already, as in its own upgrades: so the port
        # cannot be lost to somebody else, and a connection waits until there is someone to accept.
        with socket.create_server(("127.0.0.1", 0), backlog=511) as listener:
            self.port: int = listener.getsockname()[1]
            configuration = self._directory / "nginx.conf"
            configuration.write_text(self._configuration())
            with (self._directory / "output.log").open("wb") as output:
                self._process = await asyncio.create_subprocess_exec(
                    self._program,
                    *("-p", str(self._directory), "-c", str(configuration)),
                    *("-e", str(self._directory / "error.log")),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, "NGINX": f"{listener.fileno()};"},
                    pass_fds=[listener.fileno()],
                    start_new_session=True,  # Ctrl-C is for the test, which ends it
                )
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                while not self._has_begun and self._process.returncode is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
        except BaseException:
            await self._kill()
            raise
        if self._process.returncode is not None:
            raise AssertionError(f"nginx did not begin: {self._said()}")
        return self

    async def __aexit__(self, _: object, exc: BaseException | None, __: object) -> None:
        await finish_accepting()
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGQUIT)  # after the requests it is busy with
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                code = await self._process.wait()
        except BaseException:
            await self._kill()
            raise
        log = (self._directory / "access.log").read_text()
        self.requests = [LoggedRequest(**json.loads(line)) for line in log.splitlines()]
        if code and exc is None:
            raise AssertionError(f"nginx ended with {code}: {self._said()}")

    @property
    def _has_begun(self) -> bool:
        return (self._directory / "nginx.pid").exists()

    def _configuration(self) -> str:
        # Its worker shall be able to read what the master, which runs as root, has made.
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        return _CONFIGURATION.format(
            directory=self._directory, port=self.port, user=user, **self._blocks
        )

    async def _kill(self) -> None:
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its worker, too: the session is its own
            await self._process.wait()

    def _said(self) -> str:
        logs = [self._directory / "output.log", self._directory / "error.log"]
        return "\n".join(log.read_text(errors="replace") for log in logs if log.exists())
