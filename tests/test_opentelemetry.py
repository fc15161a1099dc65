"""Requests in the traces of whoever uses OpenTelemetry, by its own instrumentation of aiohttp."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from plangrep_async import AsyncPlangrep, ConnectionFailed
from plangrep_async.service import NdjsonStream
from tests.conftest import KEY, PROJECT, TOKEN, document
from tests.faults.streams import IDS, JOBS
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, json_response
from tests.secrets import holds

Connect = Callable[..., AsyncPlangrep]
STATUS = "http.status_code"  # its older name, which is what the instrumentation still writes


class Traces:
    """What a service has that watches itself: a tracer, and a place where spans end up."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer = self.provider.get_tracer("tests")

    def config(self, **options: Any) -> Any:
        """Make the configuration for a session."""
        return create_trace_config(tracer_provider=self.provider, **options)

    def requests(self) -> list[ReadableSpan]:
        """Return the spans of requests, in the order of their ends."""
        spans = self._spans.get_finished_spans()
        return [span for span in spans if span.kind is SpanKind.CLIENT]

    def everything(self) -> str:
        """Return all that is in all spans: attributes, events, statuses."""
        return "\n".join(span.to_json() for span in self._spans.get_finished_spans())


@pytest.fixture
def traces() -> Traces:
    return Traces()


def statuses(spans: list[ReadableSpan]) -> list[Any]:
    return [(span.attributes or {}).get(STATUS) for span in spans]


async def unavailable(conn: Connection) -> None:
    await conn.send(json_response({"code": "busy", "message": f"not now, {KEY}"}, status=503))


async def whole(conn: Connection) -> None:
    await conn.send(json_response({"jobs": JOBS}))


async def cut(conn: Connection) -> None:
    part = document(JOBS[:1])[:-2]
    await conn.send(head(headers=[CHUNKED]) + chunked([part], terminator=False))
    conn.close()


async def reset(conn: Connection) -> None:
    conn.reset()


async def garbage(conn: Connection) -> None:
    await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: none of it\r\n\r\n")
    conn.close()


async def test_each_attempt_is_a_span(connect: Connect, traces: Traces) -> None:
    """What was tried again is seen, under the span in which the caller asked, and on the wire."""
    async with (
        RawServer([unavailable, reset, cut, whole]) as server,
        connect(server.base_url, trace_configs=[traces.config()]) as client,
    ):
        with traces.tracer.start_as_current_span("import") as caller:
            found = [job.id async for job in client.list_jobs(PROJECT)]
            assert trace.get_current_span() is caller
    assert found == IDS
    spans = traces.requests()
    assert statuses(spans) == [503, None, 200, 200]
    assert [span.status.status_code for span in spans][:2] == [StatusCode.ERROR, StatusCode.ERROR]
    assert spans[2].status.status_code is StatusCode.UNSET  # its body broke off later
    parents = [span.parent.span_id if span.parent else None for span in spans]
    assert parents == [caller.get_span_context().span_id] * 4
    on_the_wire = [request.headers["traceparent"].split("-")[2] for request in server.requests]
    assert on_the_wire == [f"{span.get_span_context().span_id:016x}" for span in spans]


async def test_no_span_holds_a_secret(connect: Connect, traces: Traces) -> None:
    """Not even where all headers are recorded, and whatever the server does."""
    config = traces.config(captured_request_headers=[".*"], captured_response_headers=[".*"])
    async with (
        RawServer([unavailable, garbage, reset, whole]) as server,
        connect(server.base_url, trace_configs=[config]) as client,
    ):
        with pytest.raises(ConnectionFailed):
            await anext(client.list_jobs(PROJECT))
        assert len([job async for job in client.list_jobs(PROJECT)]) == len(IDS)
    assert len(server.requests) == len(traces.requests()) == 4
    assert all(request.headers["Authorization"] == f"Bearer {KEY}" for request in server.requests)
    assert "http.request.header.accept" in traces.everything()
    assert not holds(traces.everything(), KEY, TOKEN)


async def test_a_shared_request_is_below_the_span_of_who_began_it(
    connect: Connect, traces: Traces
) -> None:
    """Of several who ask `get_jobs` at one time the first one's trace has the request."""

    async def ask(name: str) -> SpanContext:
        with traces.tracer.start_as_current_span(name) as visitor:
            assert len(await client.get_jobs(PROJECT)) == len(IDS)
        return visitor.get_span_context()

    async with (
        RawServer([unavailable, whole]) as server,
        connect(server.base_url, trace_configs=[traces.config()]) as client,
    ):
        first, *_ = await asyncio.gather(*(ask(f"GET /jobs {number}") for number in range(3)))
    assert statuses(traces.requests()) == [503, 200]
    assert [span.parent for span in traces.requests()] == [first, first]


async def test_lines_are_read_under_the_span_of_their_consumer(
    connect: Connect, traces: Traces
) -> None:
    """`NdjsonStream` reads in a task of its own, in the context of who entered it."""
    async with (
        RawServer([whole]) as server,
        connect(server.base_url, trace_configs=[traces.config()]) as client,
    ):
        with traces.tracer.start_as_current_span("GET /jobs.ndjson") as visitor:
            async with NdjsonStream(client.list_jobs(PROJECT)) as lines:
                assert b"".join([data async for data in lines]).count(b"\n") == len(IDS)
    (span,) = traces.requests()
    assert span.parent == visitor.get_span_context()
