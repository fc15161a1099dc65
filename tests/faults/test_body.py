"""Bodies that break off, at any byte and in any way (rows B1 to B4)."""

import asyncio
from collections.abc import Sequence

import pytest

from plangrep_async import IncompleteResponse, PlangrepError
from tests.faults.bodies import AT_ONCE, BODY, IDS, ONCE, PATIENT, Connect, complete, read
from tests.faults.streams import nothing_left, slots
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, response

MESSAGES = {
    "Content-Length": response(BODY),
    "one chunk": head(headers=[CHUNKED]) + chunked([BODY]),
    "chunks": head(headers=[CHUNKED])
    + chunked([BODY[at : at + 100] for at in range(0, len(BODY), 100)]),
}
HOW = {"FIN": "close", "RST": "reset"}


def text(message: bytes) -> bytes:
    """Give what a beginning of an answer says: its body without its framing."""
    start, _, body = message.partition(b"\r\n\r\n")
    if b"chunked" not in start:
        return body
    said = b""
    while b"\r\n" in body:
        line, _, rest = body.partition(b"\r\n")
        size = int(line, 16)
        said, body = said + rest[:size], rest[size + 2 :]
    return said


class Cuts:
    """Breaks off its answers, each after one more byte, when all that was whole has been taken."""

    def __init__(self, message: bytes, how: str, places: Sequence[int]) -> None:
        self._message = message
        self._how = HOW[how]
        self._places = places
        self.taken: asyncio.Queue[str] = asyncio.Queue()

    @property
    def expected(self) -> list[list[str]]:
        """What is whole in each answer."""
        return [complete(text(self._message[:place])) for place in self._places]

    async def __call__(self, conn: Connection) -> None:
        """Answer a request."""
        part = self._message[: self._places[conn.request.number]]
        await conn.send(part)
        for _ in complete(text(part)):
            await self.taken.get()
        getattr(conn, self._how)()


def places(message: bytes) -> range:
    """Give each place in the body of a message, its beginning included and its end not."""
    return range(message.index(b"\r\n\r\n") + 4, len(message))


@pytest.mark.fault("B1", "B2", "B3", "B4")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("framing", ["Content-Length", "chunks"])
async def test_a_body_that_is_cut_at_any_byte_never_ends_normally(
    connect: Connect, framing: str, how: str
) -> None:
    """Wherever it is, all that is whole is delivered, then `IncompleteResponse` says how much.

    The end is missing even where only the end of the framing is: a terminator, a line of it.
    """
    message = MESSAGES[framing]
    cuts = Cuts(message, how, places(message))
    found = []
    async with (
        nothing_left(),
        RawServer(cuts) as server,
        connect(server.base_url, retry=ONCE, timeout=PATIENT) as client,
    ):
        for number in range(len(cuts.expected)):
            found.append(await read(client, cuts.taken))
            assert len(server.requests) == server.connections == number + 1
            assert slots(client) == 0
        ended = {connection.ended for connection in server.accepted}
        assert ended == {"closed by server" if how == "FIN" else "reset by server"}
    assert [ids for ids, _ in found] == cuts.expected
    assert {type(error) for _, error in found} == {IncompleteResponse}


async def resumed(
    connect: Connect, message: bytes, how: str, place: int
) -> tuple[list[str], PlangrepError | None]:
    """Read a list whose first answer is cut, and demand that the second one is the last."""
    cut = Cuts(message, how, [place])

    async def whole(conn: Connection) -> None:
        await conn.send(message)

    async with (
        RawServer([cut, whole]) as server,
        connect(server.base_url, retry=AT_ONCE, timeout=PATIENT) as client,
    ):
        outcome = await read(client, cut.taken)
        assert len(server.requests) == server.connections == 2
        assert slots(client) == 0
        return outcome


@pytest.mark.fault("B1", "B2", "B4")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("framing", MESSAGES)
async def test_a_body_that_was_cut_is_asked_for_again(
    connect: Connect, framing: str, how: str
) -> None:
    """Wherever it was cut, a second request brings the rest: every job once, and no error."""
    message = MESSAGES[framing]
    last = [len(message) - missing for missing in (1, 2, 3, 5)]  # in the terminator, if there is
    async with nothing_left():
        for place in [*places(message)[::23], *last]:
            assert await resumed(connect, message, how, place) == (IDS, None), place


@pytest.mark.fault("B1", "B2", "B4")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("count", [0, 2, 3])
async def test_when_every_answer_is_cut_the_error_says_how_far_it_came(
    connect: Connect, count: int, how: str
) -> None:
    """After `attempts` without progress it is `IncompleteResponse`, with the jobs and the last."""
    message = MESSAGES["chunks"]
    *_, place = (n for n in places(message) if len(complete(text(message[:n]))) == count)
    cut = Cuts(message, how, [place])

    async def again(conn: Connection) -> None:
        await conn.send(message[:place])
        await asyncio.sleep(0.02)  # a reset would overtake what the client has not read yet
        getattr(conn, HOW[how])()

    async with (
        nothing_left(),
        RawServer([cut, again, again]) as server,
        connect(server.base_url, retry=AT_ONCE, timeout=PATIENT) as client,
    ):
        ids, error = await read(client, cut.taken)
        assert ids == IDS[:count]
        assert type(error) is IncompleteResponse
        assert error.attempts == len(server.requests) == server.connections == 3
        assert slots(client) == 0
