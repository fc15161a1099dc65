"""X9, X10: what a server says becomes one short printable line, in errors and in the log."""

import io
import json
import logging
from collections.abc import Callable

import pytest

from plangrep_async import (
    AsyncPlangrep,
    ConnectionFailed,
    IncompleteResponse,
    InvalidJob,
    InvalidResponse,
    PlangrepError,
    ServerError,
)
from tests.conftest import document, wire_job
from tests.faults.provoked import read, sends
from tests.raw_server import RawServer, response

Connect = Callable[..., AsyncPlangrep]

EVIL = (
    "\x1b[31mred\x1b]0;title\x07\x00\x08\x7f\x9b2J\r\nINFO root forged %s %d %(name)s {} {0} $x"
    "\n\x0b\x0c\x85\u2028\u2029\u202e\u2066\u200b\ufeff\ud83d end"
)
SENDABLE = "\x9b2J\x85\xa0\xad %s %d {} {0} $x"  # in a header or a reason phrase
MIB = 1 << 20
JOB = wire_job(0)


def answer(body: object, *headers: tuple[str, str], status: int = 503, reason: str = "") -> bytes:
    """Make an answer: texts and bytes as they are, anything else as JSON."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    data = text.encode(errors="replace") if isinstance(text, str) else text
    return response(data, status=status, reason=reason, headers=headers)


def unasked(encoding: str) -> bytes:
    return answer("", ("Content-Encoding", encoding), status=200)


BOTH = {"code": EVIL, "message": EVIL}
ANSWERS: dict[str, tuple[type[PlangrepError], bytes]] = {
    "JSON": (ServerError, answer(BOTH)),
    "inner JSON": (ServerError, answer({"error": BOTH})),
    "string": (ServerError, answer(json.dumps(EVIL))),
    "text": (ServerError, answer(EVIL)),
    "HTML": (ServerError, answer(f"<b a='{EVIL}'>{EVIL}</b>")),
    "bytes": (ServerError, answer(bytes(range(256)))),
    "1 MiB of JSON": (ServerError, answer({"code": EVIL * (MIB // len(EVIL))})),
    "1 MiB of text": (ServerError, answer("no " * (MIB // 3))),
    "1 MiB of escapes": (ServerError, answer("\x1b" * MIB)),
    "1 MiB of lines": (ServerError, answer("\r\n" * (MIB // 2))),
    "reason": (ServerError, answer("", reason=SENDABLE)),
    "7 kB of reason": (ServerError, answer("", reason="x" * 7_000)),
    "1 MiB of reason": (ConnectionFailed, answer("", reason="x" * MIB)),
    "id": (ServerError, answer("", ("X-Request-Id", SENDABLE))),
    "7 kB of id": (ServerError, answer("", ("X-Request-Id", "%s" * 3_500))),
    "1 MiB of id": (ConnectionFailed, answer("", ("X-Request-Id", "x" * MIB))),
    "no HTTP": (ConnectionFailed, b"\x1b[31m%s {}\r\nINFO root forged\r\n\r\n"),
    "bad header": (ConnectionFailed, b"HTTP/1.1 200 OK\r\nX: \x1b[31m\0%s\r\nforged\r\n\r\n"),
    "encoding": (InvalidResponse, unasked(SENDABLE)),
    "7 kB of encoding": (InvalidResponse, unasked("x" * 7_000)),
    "redirect": (InvalidResponse, answer(EVIL, ("Location", SENDABLE), status=302)),
    "member": (InvalidResponse, answer({EVIL: EVIL}, status=200)),
    "100 kB of member": (InvalidResponse, answer({EVIL * 1_000: 0}, status=200)),
    "1 MiB of member": (InvalidResponse, answer({"x" * MIB: 0}, status=200)),
    "element": (InvalidJob, answer({"jobs": [{EVIL: EVIL, "id": [EVIL]}]}, status=200)),
    "time": (InvalidJob, answer({"jobs": [{**JOB, "createdAt": EVIL * 1_000}]}, status=200)),
    "job": (
        IncompleteResponse,
        answer(document([{**JOB, "id": EVIL * 1_000}]).removesuffix(b"]}"), status=200),
    ),
}


@pytest.mark.fault("X9", "X10")
@pytest.mark.parametrize(("expected", "data"), ANSWERS.values(), ids=ANSWERS)
async def test_what_a_server_says_is_one_short_line(
    connect: Connect, expected: type[PlangrepError], data: bytes
) -> None:
    """Nothing in it colours a terminal, begins a line or fills a page, nor is it a format."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    log = logging.getLogger("plangrep_async")
    log.addHandler(handler)
    try:
        async with RawServer(sends(data)) as server, connect(server.base_url) as client:
            with pytest.raises(expected) as caught:
                await read(client)
    finally:
        log.removeHandler(handler)
    error = caught.value
    assert type(error) is expected
    facts = [getattr(error, name, None) or "" for name in ("message", "code", "request_id")]
    lines = written.getvalue().splitlines()
    retries = [line for line in lines if line.startswith("INFO plangrep_async attempt ")]
    requests = [line for line in lines if line.startswith("DEBUG plangrep_async GET http://")]
    assert len(retries) == len(server.requests) - 1 == error.attempts - 1
    assert len(server.requests) <= len(requests) <= 2 * len(server.requests)
    assert len(lines) == len(retries) + len(requests)
    for text in (str(error), *facts, *lines):
        assert text.isprintable()
        assert len(text) < 1000
        text.encode()
