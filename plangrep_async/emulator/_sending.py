"""How an answer is sent: piece by piece, to its end or to where a fault stops it."""

import asyncio
import contextlib

from aiohttp import web

from ._api import Answer
from ._faults import Fault
from ._json import cut, first
from ._record import RequestRecord

_STATUSES_WITHOUT_BODY = frozenset({204, 304})  # RFC 9110, section 6.4.1


async def send(
    request: web.BaseRequest,
    answer: Answer,
    fault: Fault,
    record: RequestRecord,
    *,
    chunk_bytes: int,
) -> web.StreamResponse:
    """Send it, and note in the record what was given away; the client may leave at any time."""
    response = web.StreamResponse(status=answer.status)
    response.headers["Content-Type"] = "application/json"
    response.headers["X-Request-Id"] = record.request_id
    response.headers.update(answer.headers)
    response.headers.update(fault.headers)
    body = answer.body
    if isinstance(body, bytes):
        response.content_length = len(body)
        body = (body,)
    if request.method == "HEAD" or answer.status in _STATUSES_WITHOUT_BODY:
        body = ()
    stop = fault.stall_after_bytes if fault.cut_after_bytes is None else fault.cut_after_bytes
    if stop is not None:
        body = first(body, stop)
    with contextlib.suppress(ConnectionError):  # the client went away: the record says so
        await response.prepare(request)
        for piece in cut(body, chunk_bytes):
            await response.write(piece)
            record.body_bytes_sent += len(piece)
            await asyncio.sleep(0)  # writing to a fast reader never waits
        if fault.stall_after_bytes is not None:
            await asyncio.get_running_loop().create_future()  # ends with the connection
        elif fault.cut_after_bytes is None:
            await response.write_eof()
            record.complete = True
        elif request.transport is not None:
            request.transport.close()  # unlike `abort`, once its buffer is empty
    return response
