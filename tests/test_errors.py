"""The tree of errors: every class of it, and the text that errors show."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from plangrep_async import errors
from plangrep_async.errors import (
    ApiStatusError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    IncompleteResponse,
    InvalidJob,
    InvalidResponse,
    NotFound,
    PermissionDenied,
    PlangrepError,
    RateLimited,
    RequestTimeout,
    ServerError,
    TlsFailed,
    WaitTimeout,
    printable,
)

PARENTS = {
    PlangrepError: Exception,
    ConfigurationError: PlangrepError,
    ClientClosed: PlangrepError,
    ConnectionFailed: PlangrepError,
    RequestTimeout: ConnectionFailed,
    TlsFailed: ConnectionFailed,
    ApiStatusError: PlangrepError,
    AuthenticationError: ApiStatusError,
    PermissionDenied: ApiStatusError,
    NotFound: ApiStatusError,
    RateLimited: ApiStatusError,
    ServerError: ApiStatusError,
    InvalidResponse: PlangrepError,
    IncompleteResponse: InvalidResponse,
    InvalidJob: InvalidResponse,
    WaitTimeout: PlangrepError,
}

COMMON = {"message", "project_id", "job_id", "delivered", "last_job_id", "attempts"}
OF_STATUS = {"status", "code", "request_id", "retry_after"}

VALUES: dict[str, Any] = {
    "message": "it broke",
    "project_id": "proj_1",
    "job_id": "job_4",
    "delivered": 3,
    "last_job_id": "job_9",
    "attempts": 2,
    "status": 418,
    "code": "teapot",
    "request_id": "req_7",
    "retry_after": 1.5,
    "index": 7,
    "path": "$.billing",
    "job": "a job",
}


def tree(cls: type[PlangrepError]) -> Iterator[type[PlangrepError]]:
    if cls.__module__ == errors.__name__:
        yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


def names(cls: type[PlangrepError]) -> set[str]:
    return {field.name for field in attrs.fields(cls)}


def make(cls: type[PlangrepError], **changes: Any) -> PlangrepError:
    given = {name: VALUES[name] for name in names(cls)} | changes
    return cls(given.pop("message"), **given)


def least(cls: type[PlangrepError], message: str = "it broke", **given: Any) -> PlangrepError:
    required = {"status": 418, "index": 7}
    needed = {name: value for name, value in required.items() if name in names(cls)}
    return cls(message, **needed, **given)


each_class = pytest.mark.parametrize("cls", list(tree(PlangrepError)), ids=lambda cls: cls.__name__)


def test_tree() -> None:
    """The tree has exactly the promised classes, each under the promised one."""
    assert {cls: cls.__bases__[0] for cls in tree(PlangrepError)} == PARENTS


@each_class
def test_docstring(cls: type[PlangrepError]) -> None:
    """Each class says, in a sentence, when it is raised."""
    assert (cls.__doc__ or "").startswith(("Raised when ", "Raised on "))


@each_class
def test_attributes(cls: type[PlangrepError]) -> None:
    """Each class keeps what a caller needs as attributes."""
    expected = COMMON
    if issubclass(cls, ApiStatusError):
        expected = COMMON | OF_STATUS
    if issubclass(cls, InvalidJob):
        expected = COMMON | {"index", "path"}
    if cls is WaitTimeout:
        expected = COMMON | {"job"}
    assert names(cls) == expected
    error = make(cls)
    assert {name: getattr(error, name) for name in expected} == {n: VALUES[n] for n in expected}


@each_class
def test_defaults(cls: type[PlangrepError]) -> None:
    """Attributes that nobody gave say that nothing is known."""
    error = least(cls)
    facts = (error.project_id, error.job_id, error.delivered, error.last_job_id, error.attempts)
    assert facts == (None, None, 0, None, 1)


@each_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(cls: type[PlangrepError], protocol: int) -> None:
    """Each error comes back from a pickle with its class, all attributes and its text."""
    error = make(cls)
    back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  # our own bytes
    assert type(back) is cls
    assert attrs.asdict(back) == attrs.asdict(error)
    assert (str(back), back.args) == (str(error), error.args)


@each_class
def test_pickle_keeps_what_was_set_later(cls: type[PlangrepError]) -> None:
    """Attributes that a stream fills in on the way are pickled and shown too."""
    error = least(cls)
    error.project_id, error.delivered, error.last_job_id = "proj_2", 5, "job_5"
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert str(back) == str(error) == "it broke (project proj_2, after 5 jobs, the last one job_5)"


@each_class
def test_copy(cls: type[PlangrepError]) -> None:
    """Copies are errors of the same class with the same attributes."""
    error = make(cls)
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is cls
        assert twin is not error
        assert attrs.asdict(twin) == attrs.asdict(error)


@each_class
def test_raised_and_caught(cls: type[PlangrepError]) -> None:
    """Each error is caught as itself and as a `PlangrepError`, and takes a cause."""
    with pytest.raises(PlangrepError) as caught:
        raise make(cls) from OSError("reset")
    assert type(caught.value) is cls
    assert isinstance(caught.value.__cause__, OSError)


@each_class
def test_identity(cls: type[PlangrepError]) -> None:
    """Errors compare and hash by identity, as exceptions do."""
    error = make(cls)
    assert error != make(cls)
    assert {error: "found"}[error] == "found"


@each_class
def test_keyword_only(cls: type[PlangrepError]) -> None:
    """Only the message may be given by position, and it must be."""
    with pytest.raises(TypeError):
        cls("it broke", "proj_1")
    with pytest.raises(TypeError):
        cls()


@pytest.mark.fault("X9")
@each_class
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "it broke"),
        ({"attempts": 1, "delivered": 0, "last_job_id": "job_9"}, "it broke"),
        ({"project_id": "proj_1"}, "it broke (project proj_1)"),
        ({"job_id": "job_1\n"}, "it broke (job job_1\\n)"),
        ({"attempts": 3}, "it broke (3 attempts)"),
        (
            {"delivered": 40, "last_job_id": "job_9"},
            "it broke (after 40 jobs, the last one job_9)",
        ),
        ({"delivered": 40}, "it broke (after 40 jobs, the last one unknown)"),
        (
            {"project_id": "proj_1", "attempts": 2, "delivered": 3, "last_job_id": "job_9"},
            "it broke (project proj_1, 2 attempts, after 3 jobs, the last one job_9)",
        ),
        ({"project_id": "\x1b[2J\n%s"}, "it broke (project \\x1b[2J\\n%s)"),
        (
            {"delivered": 2, "last_job_id": "a\r\nb"},
            "it broke (after 2 jobs, the last one a\\r\\nb)",
        ),
    ],
)
def test_text(cls: type[PlangrepError], given: dict[str, Any], expected: str) -> None:
    """The text names project, attempts and what was delivered, each only where known."""
    assert str(least(cls, **given)) == expected


@pytest.mark.fault("X9")
def test_long_ids_are_cut() -> None:
    """Ids of any length leave the text of an error short and on one line."""
    huge = "\n" * 2**20
    text = str(PlangrepError("it broke", project_id=huge, delivered=1, last_job_id=huge))
    assert len(text) < 500
    assert text.isprintable()


def test_configuration_error_is_a_value_error() -> None:
    """A bad argument can be caught as the `ValueError` that it is."""
    with pytest.raises(ValueError, match=r"^no key$"):
        raise ConfigurationError("no key")


@pytest.mark.fault("X9", "X10")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain text, 100 % of it", "plain text, 100 % of it"),
        ("Grüße, 東京 😀", "Grüße, 東京 😀"),
        ("%s {0} $x", "%s {0} $x"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("tab\tnul\0bell\a", "tab\\tnul\\x00bell\\x07"),
        ("\x1b[31mred\x1b[0m\x9b2J", "\\x1b[31mred\\x1b[0m\\x9b2J"),
        ("safe\u202egnp.exe\u2066", "safe\\u202egnp.exe\\u2066"),
        ("\u2028\u2029\x85\x0b\x0c\x1c", "\\u2028\\u2029\\x85\\x0b\\x0c\\x1c"),
        ("zero\u200bwidth\ufeff\xad", "zero\\u200bwidth\\ufeff\\xad"),
        ("\ud83d cut \ude00", "\\ud83d cut \\ude00"),
        ("\U000e0001\U0010ffff", "\\U000e0001\\U0010ffff"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "…"),
        ("x" * 2**20, "x" * 200 + "…"),
        ("\n" * 100, "\\n" * 100),
        ("\n" * 101, "\\n" * 100 + "…"),
        ("\x1b" * 2**20, "\\x1b" * 50 + "…"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_printable(text: str, expected: str) -> None:
    """Foreign text becomes one printable line of at most 200 characters and a mark of the cut."""
    assert printable(text) == expected
    assert expected.isprintable()
    expected.encode()
