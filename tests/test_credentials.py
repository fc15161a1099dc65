"""The API key: where it may come from, when it is asked for, and that no text ever shows it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import AsyncPlangrep
from plangrep_async._credentials import Credentials
from plangrep_async._status import status_error
from plangrep_async.errors import ConfigurationError, NotFound
from tests.conftest import PROJECT, document
from tests.raw_server import Connection, RawServer, json_response, response
from tests.secrets import leaks

Connect = Callable[..., AsyncPlangrep]
VARIABLE = "PLANGREP_API_KEY"
CANARY = "pgk_live_canary"


class Source:
    """A function that gives one answer after the other, the last one for ever, and counts."""

    def __init__(self, *answers: Any) -> None:
        self.answers = answers
        self.asked = 0

    def __call__(self) -> Any:
        """Give the next answer."""
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


class AsyncSource(Source):
    """The same as a function to be awaited."""

    async def __call__(self) -> Any:
        """Give the next answer, a little later."""
        await asyncio.sleep(0.001)
        return super().__call__()


async def test_the_environment_is_asked_without_an_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An argument goes first; the variable is read at construction, and not again."""
    monkeypatch.setenv(VARIABLE, "pgk_of_the_environment")
    assert await Credentials("pgk_given").header() == "Bearer pgk_given"
    credentials = Credentials(None)
    monkeypatch.setenv(VARIABLE, "pgk_of_later")
    assert await credentials.header() == "Bearer pgk_of_the_environment"
    assert await credentials.renew(credentials.version) is False
    assert await credentials.header() == "Bearer pgk_of_the_environment"


def test_without_any_key_the_error_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the argument and the variable."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=rf"{VARIABLE}.* api_key"):
        Credentials(None)


@pytest.mark.parametrize("source", [Source(CANARY), AsyncSource(CANARY)], ids=["sync", "async"])
async def test_a_function_is_asked_once_and_not_at_construction(source: Source) -> None:
    """It is asked at the first need, and its key serves from then on."""
    credentials = Credentials(source)
    assert source.asked == 0
    assert [await credentials.header() for _ in range(3)] == [f"Bearer {CANARY}"] * 3
    assert source.asked == 1


@pytest.mark.parametrize("kind", [Source, AsyncSource])
async def test_renewing_asks_once_and_says_whether_the_key_changed(kind: type[Source]) -> None:
    """Each renewal is one question; the header then holds the newest key."""
    source = kind("pgk_a", "pgk_a", "pgk_b", "pgk_c")
    credentials = Credentials(source)
    assert await credentials.header() == "Bearer pgk_a"
    assert (await credentials.renew(credentials.version), source.asked) == (False, 2)
    assert (await credentials.renew(credentials.version), source.asked) == (True, 3)
    assert await credentials.header() == "Bearer pgk_b"
    assert source.asked == 3


@pytest.mark.parametrize("kind", [Source, AsyncSource])
async def test_those_who_were_refused_with_one_key_ask_for_another_once(kind: type[Source]) -> None:
    """Whoever comes with the version of an older key is told at once that there is a newer one."""
    source = kind("pgk_a", "pgk_b", "pgk_c")
    credentials = Credentials(source)
    await credentials.header()
    refused = credentials.version
    renewals = [*await asyncio.gather(*(credentials.renew(refused) for _ in range(16)))]
    assert renewals == [True] * 16
    assert await credentials.renew(refused)
    assert source.asked == 2
    assert await credentials.header() == "Bearer pgk_b"


@pytest.mark.parametrize("kind", [Source, AsyncSource])
async def test_a_bad_answer_leaves_the_key_as_it_was(kind: type[Source]) -> None:
    """When a function answers what is no key, that is an error, and the last key stays."""
    credentials = Credentials(kind("pgk_a", "pgk_b\n", "pgk_c"))
    assert await credentials.header() == "Bearer pgk_a"
    with pytest.raises(ConfigurationError):
        await credentials.renew(credentials.version)
    assert await credentials.header() == "Bearer pgk_a"
    assert await credentials.renew(credentials.version) is True


async def test_a_question_that_fails_or_is_cancelled_can_be_asked_again() -> None:
    """An error of the user's function comes through, and whoever waits behind it asks anew."""
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise LookupError("no vault")
        if asked == 2:
            await asyncio.Event().wait()
        return CANARY

    credentials = Credentials(ask)
    with pytest.raises(LookupError, match="no vault"):
        await credentials.header()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(credentials.header(), 0.01)
    assert await credentials.header() == f"Bearer {CANARY}"


BAD_KEYS = [
    *("", " ", "\n", f" {CANARY}", f"Bearer {CANARY}", f"{CANARY}\r\nX-Evil: 1"),
    *(f"{CANARY}{tail}" for tail in "\r\n\t\0\x1b\x7f \xa0\u2028ü😀\udc80"),
]


@pytest.mark.fault("X3", "X4")
@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
async def test_a_bad_key_is_refused_and_not_repeated(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whichever way it comes, what is no visible ASCII is refused without being shown."""
    with pytest.raises(ConfigurationError, match="the API key must be") as given:
        Credentials(key)
    caught = [given]
    for source in (Source(key), AsyncSource(key)):
        with pytest.raises(ConfigurationError, match="the API key must be") as answered:
            await Credentials(source).header()
        caught.append(answered)
    if key.isascii() and "\0" not in key:
        monkeypatch.setenv(VARIABLE, key)
        with pytest.raises(ConfigurationError, match="PLANGREP_API_KEY must be") as found:
            Credentials(None)
        caught.append(found)
    for error in caught:
        assert leaks(error.value, "canary") == []


@pytest.mark.fault("X3", "X4")
@pytest.mark.parametrize("answer", [None, 7, CANARY.encode(), [CANARY]], ids=repr)
async def test_an_answer_that_is_no_text_is_refused_and_not_repeated(answer: Any) -> None:
    """A function must answer with a text; bytes are none."""
    with pytest.raises(ConfigurationError, match="must be a text") as caught:
        await Credentials(Source(answer)).header()
    assert leaks(caught.value, "canary") == []


@pytest.mark.fault("X3", "X4")
@pytest.mark.parametrize("source", [CANARY.encode(), 7, [CANARY], {"key": CANARY}], ids=repr)
def test_a_source_is_a_string_or_a_function(source: Any) -> None:
    """Anything else is refused at construction, and not shown."""
    with pytest.raises(ConfigurationError, match="a text or a function") as caught:
        Credentials(source)
    assert leaks(caught.value, "canary") == []


@pytest.mark.fault("X3")
@settings(derandomize=True, deadline=None)
@given(st.text(min_size=1))
def test_a_key_is_taken_exactly_if_it_is_visible_ascii(key: str) -> None:
    """Of all texts, those that a header can hold without quoting are taken, and no others."""
    try:
        Credentials(key)
    except ConfigurationError:
        assert any(not 0x21 <= ord(character) <= 0x7E for character in key)
    else:
        assert all(0x21 <= ord(character) <= 0x7E for character in key)


@pytest.mark.fault("X4")
async def test_credentials_do_not_show_their_key() -> None:
    """Neither before nor after the first need does a repr hold it."""
    credentials = Credentials(Source(CANARY))
    await credentials.header()
    assert "canary" not in f"{credentials!r}{credentials}{Credentials(CANARY)!r}"


@pytest.mark.fault("X4")
async def test_the_key_is_taken_out_of_what_a_server_said() -> None:
    """Every place is hidden, with the key as it is now; without a key yet, nothing is."""
    credentials = Credentials(Source("pgk_a", "pgk_b"))
    said = "pgk_a, pgk_b and pgk_a"
    assert credentials.hide(said) == said
    await credentials.header()
    assert credentials.hide(said) == "[API key], pgk_b and [API key]"
    await credentials.renew(credentials.version)
    assert "pgk_b" not in credentials.hide(said)


@pytest.mark.fault("X4")
@pytest.mark.parametrize("sent", [rb"a\/canary", rb"a\u002fcanary", rb"\u0061/canary"])
@pytest.mark.parametrize("field", [b"code", b"message", b"error"])
def test_the_key_is_taken_out_in_json_escapes_too(field: bytes, sent: bytes) -> None:
    """A key that a server repeats with escapes does not come back through code or message."""
    body = b'{"%b": "bad key %b"}' % (field, sent)
    error = status_error("GET x", 403, body, hide=Credentials("a/canary").hide)
    assert "bad key [API key]" in str(error)
    assert "a/canary" not in repr(error)


async def test_those_who_need_a_key_together_ask_once() -> None:
    """Requests that start, or are refused, at the same moment share one question."""
    source = AsyncSource(CANARY)
    credentials = Credentials(source)
    await asyncio.gather(*(credentials.header() for _ in range(16)))
    refused = credentials.version
    first_asked = source.asked
    renewals = [*await asyncio.gather(*(credentials.renew(refused) for _ in range(16)))]
    assert renewals == [False] * 16
    assert (first_asked, source.asked) == (1, 2)


async def test_a_rotation_serves_all_requests_that_were_refused_with_the_old_key(
    connect: Connect,
) -> None:
    """Two requests go out with one key, which is then rotated: both are sent again."""
    source = Source("pgk_old", "pgk_new")
    both_arrived = asyncio.Event()
    refused: list[Connection] = []

    async def answer(conn: Connection) -> None:
        if conn.request.headers["Authorization"] == "Bearer pgk_new":
            await conn.send(response(document([])))
            return
        refused.append(conn)
        if len(refused) == 2:
            both_arrived.set()
        await both_arrived.wait()
        await conn.send(json_response({"code": "expired_key"}, status=401))

    async def count(client: AsyncPlangrep) -> int:
        return len([job async for job in client.list_jobs(PROJECT)])

    async with RawServer(answer) as server, connect(server.base_url, api_key=source) as client:
        assert [*await asyncio.gather(count(client), count(client))] == [0, 0]
        assert (source.asked, len(server.requests)) == (2, 4)


@pytest.mark.fault("X4")
async def test_a_server_that_sends_the_key_as_request_id_does_not_reveal_it(
    connect: Connect,
) -> None:
    """The key is taken out of the request id as it is out of the body."""

    async def answer(conn: Connection) -> None:
        key = conn.request.headers["Authorization"]
        await conn.send(json_response({}, status=404, headers=[("X-Request-Id", key)]))

    async with RawServer([answer]) as server, connect(server.base_url, api_key=CANARY) as client:
        with pytest.raises(NotFound) as caught:
            _ = [job async for job in client.list_jobs(PROJECT)]
    assert caught.value.request_id
    assert leaks(caught.value, CANARY) == []


@pytest.mark.parametrize(
    "said",
    [
        "pgk/live+canary==",
        r"pgk\/live+canary==",
        "pgk%2Flive%2bcanary%3D%3D",
        r"\u0070gk/live\u002bcanary==",
        r"\\u0070gk\\/live+canary==",
        r"\x70gk/live+canary==",
    ],
)
def test_a_key_is_hidden_however_it_is_escaped(said: str) -> None:
    """Escapes of JSON, of JSON in a JSON string, and of URLs hide nothing."""
    assert Credentials("pgk/live+canary==").hide(f"no {said}.") == "no [API key]."


def test_looking_for_a_key_takes_little_time() -> None:
    """A text of backslashes alone is read in linear time."""
    text = "\\" * (64 << 10)
    assert Credentials("pgk_live_canary").hide(text) == text
