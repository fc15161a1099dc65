"""Compressed bodies that are wrong, and encodings that were not asked for (rows B8, B9)."""

import asyncio
import gzip

import aiohttp
import pytest

from plangrep_async import InvalidResponse, Timeouts
from tests.faults.bodies import (
    BODY,
    DEFLATE,
    GZIP,
    IDS,
    ONCE,
    PACKED,
    PATIENT,
    Connect,
    read,
)
from tests.faults.streams import nothing_left, slots
from tests.raw_server import Connection, Headers, RawServer, head, response

GZIPPED, ZIPPED = PACKED["gzip"][1], PACKED["deflate"][1]


def flipped(packed: bytes, place: int) -> bytes:
    """Change one bit."""
    changed = bytearray(packed)
    changed[place] ^= 1
    return bytes(changed)


BROKEN = {
    "gzip: checksum": (GZIP, flipped(GZIPPED, -8)),
    "gzip: length": (GZIP, flipped(GZIPPED, -1)),
    "gzip: method": (GZIP, flipped(GZIPPED, 2)),
    "gzip: none": (GZIP, BODY),
    "gzip: deflate": (GZIP, ZIPPED),
    "gzip: a second one with a wrong checksum": (GZIP, GZIPPED + flipped(gzip.compress(b" "), -8)),
    "deflate: checksum": (DEFLATE, flipped(ZIPPED, -1)),
    "deflate: none": (DEFLATE, BODY),
    "deflate: gzip": (DEFLATE, GZIPPED),
    "deflate: a text behind": (DEFLATE, ZIPPED + b"garbage, for example"),
}
BEHIND = [b"\0" * 16, b"garbage, for example", BODY]


async def refuse(connect: Connect, header: tuple[str, str], packed: bytes) -> None:
    """Demand that a body is refused in one request, as broken, after some of its jobs or none."""

    async def send(conn: Connection) -> None:
        await conn.send(response(packed, headers=[header]))

    async with (
        nothing_left(),
        RawServer([send]) as server,
        connect(server.base_url, timeout=PATIENT) as client,
    ):
        ids, error = await read(client)
        assert ids == IDS[: len(ids)]
        assert type(error) is InvalidResponse
        assert "the compressed body is broken" in str(error)
        assert len(server.requests) == 1
        assert slots(client) == 0


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("header", "packed"), BROKEN.values(), ids=BROKEN)
async def test_what_cannot_be_unpacked_is_refused(
    connect: Connect, header: tuple[str, str], packed: bytes
) -> None:
    """It is an `InvalidResponse` at once: to ask again would not help."""
    await refuse(connect, header, packed)


@pytest.mark.fault("B8")
@pytest.mark.parametrize("garbage", BEHIND, ids=lambda garbage: repr(garbage[:8]))
async def test_what_is_behind_a_gzip_stream_must_be_one(connect: Connect, garbage: bytes) -> None:
    """RFC 1952, section 2.2: there is nothing but members, so anything else is refused."""
    await refuse(connect, GZIP, GZIPPED + garbage)


MORE = gzip.compress(b" " * 1000)


@pytest.mark.fault("B8")
@pytest.mark.parametrize(
    "more",
    [b"\n", b"\0", b"x", *(MORE[:size] for size in (1, 2, 10, 20))],
    ids=["line end", "zero", "letter", *(f"{size} of a member" for size in (1, 2, 10, 20))],
)
async def test_what_adds_no_text_to_a_whole_document_is_not_seen(
    connect: Connect, more: bytes
) -> None:
    """aiohttp says nothing of a byte behind the stream, or of a member that gave no text yet.

    Nothing can be missing, for the document is whole: it ends normally, with every job.
    """

    async def send(conn: Connection) -> None:
        await conn.send(response(GZIPPED + more, headers=[GZIP]))

    async with (
        nothing_left(),
        RawServer([send]) as server,
        connect(server.base_url, retry=ONCE, timeout=PATIENT) as client,
    ):
        assert await read(client) == (IDS, None)
        assert len(server.requests) == 1
        assert slots(client) == 0


@pytest.mark.fault("B8")
@pytest.mark.parametrize("place", [-8, -1], ids=["checksum", "length"])
async def test_jobs_come_before_the_error_of_a_later_packet(connect: Connect, place: int) -> None:
    """What could be unpacked was delivered when it came, and is not waited for again."""
    taken: asyncio.Queue[str] = asyncio.Queue()

    async def send(conn: Connection) -> None:
        await conn.send(head(headers=[GZIP, ("Content-Length", str(len(GZIPPED)))]) + GZIPPED[:-8])
        for _ in IDS:
            await taken.get()
        await conn.send(flipped(GZIPPED, place)[-8:])
        await conn.stall()

    async with (
        nothing_left(),
        RawServer([send]) as server,
        connect(server.base_url, timeout=PATIENT) as client,
    ):
        ids, error = await read(client, taken)
        assert (ids, type(error)) == (IDS, InvalidResponse)
        assert slots(client) == 0


def encoded(*values: str) -> Headers:
    """Make headers that say how a body is encoded."""
    return [("Content-Encoding", value) for value in values]


REFUSED = {
    **{value: encoded(value) for value in ("br", "zstd", "compress", "x-gzip", "x-nonsense")},
    **{value: encoded(value) for value in ("gzip, gzip", "deflate, gzip", "identity, gzip")},
    **{value: encoded(value) for value in ("gzip;q=1", '"gzip"', "x" * 4000)},
}
STACKED = [
    ("gzip", "gzip"), ("deflate", "gzip"), ("gzip", "deflate"), ("identity", "gzip"),
    ("gzip", "identity"), ("gzip", "br"), ("br", "gzip"), ("x-nonsense", "gzip"),
    ("gzip", "x-nonsense"),
]  # fmt: skip


@pytest.mark.fault("B9")
@pytest.mark.parametrize(
    "headers",
    [*REFUSED.values(), *(encoded(*values) for values in STACKED)],
    ids=[*(name[:20] for name in REFUSED), *(" and ".join(values) for values in STACKED)],
)
async def test_an_encoding_that_was_not_asked_for_is_refused_by_its_header(
    connect: Connect, headers: Headers
) -> None:
    """One request, and an error that needs no byte of the body: none is ever sent."""

    async def send_headers(conn: Connection) -> None:
        await conn.send(head(headers=[*headers, ("Content-Length", "1000")]))
        await conn.stall()

    async with (
        nothing_left(),
        RawServer([send_headers]) as server,
        connect(server.base_url, timeout=Timeouts(read=1.0)) as client,
    ):
        ids, error = await read(client)
        assert (ids, type(error)) == ([], InvalidResponse)
        assert "was not asked for" in str(error)
        assert len(str(error)) < 500
        assert len(server.requests) == 1
        await server.wait_closed_by_client()
        assert slots(client) == 0


TAKEN = {
    "no header": ([], BODY),
    "empty": (encoded(""), BODY),
    "identity": (encoded("identity"), BODY),
    "gzip": (encoded("gzip"), GZIPPED),
    "GZip": (encoded(" GZip "), GZIPPED),
    "deflate": (encoded("deflate"), ZIPPED),
    "raw deflate": (encoded("deflate"), PACKED["raw deflate"][1]),
}


@pytest.mark.fault("B9")
@pytest.mark.parametrize(("headers", "packed"), TAKEN.values(), ids=TAKEN)
async def test_what_was_asked_for_is_unpacked(
    connect: Connect, headers: Headers, packed: bytes
) -> None:
    """gzip and deflate are, with or without the header of zlib, and what is not packed is read."""

    async def send(conn: Connection) -> None:
        await conn.send(response(packed, headers=headers))

    async with RawServer([send]) as server, connect(server.base_url, timeout=PATIENT) as client:
        assert await read(client) == (IDS, None)


@pytest.mark.fault("B9")
@pytest.mark.parametrize("borrowed", [False, True])
async def test_no_other_encoding_is_asked_for(connect: Connect, *, borrowed: bool) -> None:
    """`gzip, deflate` in one header, whatever is installed and a session of one's own may say."""

    async def send(conn: Connection) -> None:
        await conn.send(response(BODY))

    async with (
        aiohttp.ClientSession(headers={"Accept-Encoding": "br, zstd"}) as session,
        RawServer([send]) as server,
        connect(server.base_url, **({"session": session} if borrowed else {})) as client,
    ):
        assert await read(client) == (IDS, None)
        assert server.requests[0].headers.getall("Accept-Encoding") == ["gzip, deflate"]
