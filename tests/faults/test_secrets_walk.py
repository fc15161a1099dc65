"""X4: what looks for secrets in errors and logs sees every place of them, and so can fail."""

import logging
from pathlib import Path
from typing import Any

import attrs
import pytest

import plangrep_async
from plangrep_async import ConfigurationError, PlangrepError
from tests.conftest import KEY, TOKEN
from tests.secrets import LogWatch, holds, leaks

pytestmark = pytest.mark.fault("X4")

CANARY = "pgk/live_canary"


class Slotted(Exception):
    """Has a place of its own, which no `vars()` shows."""

    __slots__ = ("kept",)


class Talkative(Exception):
    """Says a canary in one way of turning it to text."""

    def __init__(self, way: str) -> None:
        super().__init__(way)
        self.way = way

    def __repr__(self) -> str:
        return CANARY if self.way == "repr" else "harmless"

    def __str__(self) -> str:
        return CANARY if self.way == "str" else "harmless"

    def __format__(self, _: str) -> str:
        return CANARY if self.way == "format" else "harmless"


class Pickled(Exception):
    """Puts a canary into its pickle, or into what comes out of that, and nowhere else."""

    def __init__(self, turn: int) -> None:
        super().__init__(turn)
        self.turn = turn

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickled, (self.turn, CANARY[:: self.turn])


@attrs.frozen
class Response:
    """What must not hang on an error."""

    url: str = attrs.field(repr=False)


def unpickled(turn: int, text: str) -> Exception:
    return ValueError(text[::turn]) if turn < 0 else Pickled(turn)


def chained(link: str) -> Exception:
    error, far = ConfigurationError("harmless"), ValueError("harmless")
    setattr(error, link, far)
    far.__context__ = OSError(CANARY)
    return error


def noted() -> Exception:
    error = ConfigurationError("harmless")
    error.add_note(CANARY)
    return error


def with_attribute(value: Any) -> Exception:
    error = ConfigurationError("harmless")
    error.extra = value  # type: ignore[attr-defined]
    return error


def slotted() -> Exception:
    error = Slotted()
    error.kept = [CANARY]
    return error


def raised_beside(value: object, filename: str) -> Exception:
    """Raise an error in a frame of that file, with a variable of that value."""
    source = "def work(variable):\n raise error('harmless')"
    names: dict[str, Any] = {"error": ConfigurationError}
    exec(compile(source, filename, "exec"), names)  # noqa: S102  # the text above
    try:
        names["work"](value)
    except ConfigurationError as error:
        return error
    raise AssertionError


OURS = str(Path(plangrep_async.__file__).parent / "made_up.py")
SEEN = {
    "message": ConfigurationError(CANARY),
    "field": PlangrepError("harmless", last_job_id=CANARY),
    "argument": ValueError({"keys": [b"harmless", CANARY.encode()]}),
    "key of a dict": ValueError({CANARY: 1}),
    "system error": OSError(2, "harmless", CANARY),
    "decoding error": UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, "harmless"),
    "cause": chained("__cause__"),
    "context": chained("__context__"),
    "note": noted(),
    "attribute": with_attribute(CANARY),
    "object": with_attribute({"response": [Response(CANARY)]}),
    "slot": slotted(),
    "group": ExceptionGroup("harmless", [ValueError("harmless"), chained("__cause__")]),
    "repr": Talkative("repr"),
    "str": Talkative("str"),
    "format": Talkative("format"),
    "pickle": Pickled(1),
    "what was pickled": Pickled(-1),
    "escapes": ConfigurationError(r"pgk\/live\u005Fcanary"),
    "hexadecimal escapes": ConfigurationError(r"pgk\x2flive_canary"),
    "percent escapes": ConfigurationError("pgk%2Flive%5fcanary"),
    "variable": raised_beside(CANARY, OURS),
    "variable, bytes": raised_beside(bytearray(CANARY.encode()), OURS),
    "variable, deep": raised_beside({"a": [({"b": Talkative("str")},)]}, OURS),
}
UNSEEN = {
    "nothing": ConfigurationError("harmless"),
    "other text": ConfigurationError("pgk_live"),
    "variable of the caller": raised_beside(CANARY, __file__),
    "object in a variable": raised_beside(Response(CANARY), OURS),
}


@pytest.mark.parametrize("error", SEEN.values(), ids=SEEN)
def test_the_walk_over_an_error_sees_what_is_behind_it(error: Exception) -> None:
    """A secret in any of these places would be found."""
    assert leaks(error, "nowhere", CANARY)


@pytest.mark.parametrize("error", UNSEEN.values(), ids=UNSEEN)
def test_the_walk_over_an_error_finds_nothing_else(error: Exception) -> None:
    """Variables of the caller's are the caller's, and objects in ours print by their `repr`."""
    assert leaks(error, CANARY) == []


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_a_circle_of_errors_has_an_end(link: str) -> None:
    """Errors that lead to each other are each seen once."""
    first, second = ValueError("first"), ValueError("second")
    setattr(first, link, second)
    setattr(second, link, first)
    assert leaks(first, CANARY) == []


def test_escapes_that_are_none_do_no_harm() -> None:
    """Half an escape, or one for no character, is text like any other."""
    assert not holds("\\u12 %zz \\x %", CANARY)
    assert holds("\\ud83d " + CANARY, CANARY)


@pytest.mark.parametrize("secret", [KEY, TOKEN], ids=["key", "token"])
@pytest.mark.parametrize("name", ["plangrep_async", "aiohttp.client", "asyncio", "backoff"])
def test_every_log_is_watched(name: str, secret: str) -> None:
    """A record of any logger, of the lowest level that it has, fails its test by a secret in it."""
    (watch,) = (one for one in logging.getLogger().handlers if isinstance(one, LogWatch))
    log = logging.getLogger(name)
    level = log.getEffectiveLevel()
    assert level == logging.DEBUG or name == "backoff"
    log.log(level, "harmless %s", "text", exc_info=raised_beside("harmless", OURS))
    assert watch.leaks == []
    log.log(level, "text %s", secret)
    log.log(level, "repr %s", [secret])
    log.log(level, "escapes %s", secret.replace("_", r"\u005f"))
    log.log(level, "extra", extra={"headers": {"Authorization": secret}})
    log.log(level, "error", exc_info=ValueError(secret))
    log.log(level, "frame", exc_info=raised_beside(secret, OURS))
    seen = [leak.partition(": ")[2].strip("'").split()[0] for leak in watch.leaks]
    assert seen == ["text", "repr", "escapes", "extra", "error", "frame"]
    watch.leaks.clear()  # or this test would fail


def test_the_watch_is_not_heard_by_others(caplog: pytest.LogCaptureFixture) -> None:
    """What else listens to the log gets what it got before: from warnings on, unless it asks."""
    log = logging.getLogger("aiohttp.client")
    log.debug("not heard")
    log.warning("heard")
    caplog.set_level(logging.DEBUG, logger=log.name)
    log.debug("heard, too")
    assert caplog.messages == ["heard", "heard, too"]
