"""From JSON arrays to objects: each bad element in its place, and both lanes of one mind."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Any

import attrs
import cattrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async._elements import array_decoder
from plangrep_async._mirror import Mirror, NotMirrored
from plangrep_async.converter import (
    InvalidElement,
    camel,
    error_from_json,
    follows_our_rules,
    make_converter,
)
from plangrep_async.models import Job, JobError, JobFile, JobLimits, Project

NOON = "2024-11-02T12:00:00.000Z"
LEAST: dict[str, Any] = {
    "id": "job_1",
    "projectId": "proj_1",
    "status": "completed",
    "createdAt": NOON,
    "updatedAt": NOON,
}
PROJECT: dict[str, Any] = {key: LEAST[key] for key in LEAST if key != "projectId"}
NO_TIME = "expected an ISO 8601 timestamp with an offset or Z"

moderately = settings(derandomize=True, deadline=None, max_examples=120)


def plain_converter() -> cattrs.Converter:
    """Make a converter of the same rules that the fast lane keeps away from."""
    converter = make_converter()
    text = converter.get_structure_hook(str)
    converter.register_structure_hook(str, partial(text))
    assert not follows_our_rules(converter, Job)
    assert not follows_our_rules(converter, Project)
    return converter


def elements_by(converter: cattrs.Converter, cls: type) -> Callable[[bytes], list[Any]]:
    decode = array_decoder(converter, cls)
    return lambda text: list(chain.from_iterable(decode(text)))


rules = make_converter()
fast = {cls: elements_by(rules, cls) for cls in (Job, Project)}
plain = {cls: elements_by(plain_converter(), cls) for cls in (Job, Project)}
mirror = Mirror(Job, rename=camel, from_json={JobError: error_from_json})


def wire(raw: dict[str, bytes] | None = None, base: Any = LEAST, **changes: Any) -> bytes:
    """Make one element; `raw` holds JSON text for some fields, valid or not."""
    members = [(key, json.dumps(value).encode()) for key, value in {**base, **changes}.items()]
    members += (raw or {}).items()
    return b"{" + b",".join(b'"%b":%b' % (key.encode(), text) for key, text in members) + b"}"


def array(*elements: bytes) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def seen(decode: Any, text: bytes) -> list[str] | str:
    """Everything that can be told of a result: values, types, places, reasons, or the error."""
    try:
        return [f"{type(element)} {attrs.asdict(element)}" for element in decode(text)]
    except (msgspec.DecodeError, RecursionError) as error:
        return type(error).__name__


BAD: list[tuple[bytes, str, str]] = [
    (b"null", "expected an object, got null", "$"),
    (b"7", "expected an object, got a number", "$"),
    (b"1.5", "expected an object, got a number", "$"),
    (b"true", "expected an object, got a boolean", "$"),
    (b'"canary"', "expected an object, got a string", "$"),
    (b'["canary"]', "expected an object, got an array", "$"),
    (wire(id=None), "expected a string, got null", "$.id"),
    (wire(id={"canary": 1}), "expected a string, got an object", "$.id"),
    (wire(status=["canary"]), "expected a string, got an array", "$.status"),
    (wire(externalId=True), "expected a string, got a boolean", "$.external_id"),
    (wire(resultUrl=["canary"]), "expected a string, got an array", "$.result_url"),
    (wire(pageCount="canary"), "expected an integer, got a string", "$.page_count"),
    (wire(pageCount=True), "expected an integer, got a boolean", "$.page_count"),
    (wire(pageCount=None), "expected an integer, got null", "$.page_count"),
    (wire({"pageCount": b"1.0"}), "expected an integer, got a number", "$.page_count"),
    (wire({"pageCount": b"1e2"}), "expected an integer, got a number", "$.page_count"),
    (wire({"pageCount": b"1e999"}), "expected an integer, got a number", "$.page_count"),
    (wire({"pageCount": b"7" * 5000}), "expected an integer, got a number", "$.page_count"),
    (wire(limits="canary"), "expected an object, got a string", "$.limits"),
    (
        wire(limits={"maxFiles": "canary"}),
        "expected an integer, got a string",
        "$.limits.max_files",
    ),
    (
        wire(billing={"creditsDebited": ["canary"]}),
        "expected an integer, got an array",
        "$.billing.credits_debited",
    ),
    (wire(files={"canary": 1}), "expected an array, got an object", "$.files"),
    (wire(files=[{}, "canary"]), "expected an object, got a string", "$.files[1]"),
    (wire(files=[{"fileName": 7}]), "expected a string, got a number", "$.files[0].file_name"),
    (wire(createdAt="canary"), NO_TIME, "$.created_at"),
    (wire(createdAt="2024-11-02T12:00:00"), NO_TIME, "$.created_at"),
    (wire(completedAt="0001-01-01T00:00:00+00:01"), NO_TIME, "$.completed_at"),
    (wire(expiresAt={"canary": 1}), "expected a string, got an object", "$.expires_at"),
    (wire({"error": b'{"canary":[1e999]}'}), "expected finite numbers", "$.error"),
    (wire({"error": b'"\xffcanary"'}), "not valid UTF-8", "$"),
    (wire({"canary": b'"\xed\xa0\x80"'}), "not valid UTF-8", "$"),
    (wire(base={**LEAST, "ID": 1}).replace(b'"id"', b'"canary"'), "required field missing", "$.id"),
]


@pytest.mark.fault("S1", "S2", "S4", "S7")
@pytest.mark.parametrize("decode", [fast[Job], plain[Job]], ids=["fast", "plain"])
@pytest.mark.parametrize(("bad", "reason", "path"), BAD, ids=lambda value: ascii(value)[:60])
def test_bad_element(decode: Any, bad: bytes, reason: str, path: str) -> None:
    """A bad element stands in its place, with what is wrong and where, and never its content."""
    before, element, after = decode(array(wire(), bad, wire(id="job_2")))
    assert (before.id, after.id) == ("job_1", "job_2")
    assert element == InvalidElement(index=1, reason=f"{reason} @ {path}", path=path, raw=bad)
    assert "canary" not in repr(element) + str(element)
    assert "proj_1" not in repr(element)


@pytest.mark.fault("S7")
def test_all_faults_of_an_element() -> None:
    """All faults of an element are named; the path is that of the first."""
    (element,) = fast[Job](array(wire(pageCount="canary", billing=None, files=[{"id": 1}])))
    assert element.path == "$.page_count"
    assert element.reason == (
        "expected an integer, got a string @ $.page_count; "
        "expected an object, got null @ $.billing; "
        "expected a string, got a number @ $.files[0].id"
    )


@pytest.mark.fault("S7")
def test_reason_is_bounded() -> None:
    """A reason stays short enough for a message, however many faults an element has."""
    (element,) = fast[Job](array(wire({"files": b"[" + b"0," * 20_000 + b"0]"})))
    assert element.path == "$.files[0]"
    assert element.reason.count("expected an object, got a number @ $.files[") == 10
    assert element.reason.endswith("got a number @ $.files[9]")
    (element,) = fast[Job](array(wire({"files": b"[" + b"0," * 20_000 + b"0]"}, billing=None)))
    assert element.reason.endswith("; and 1 more")


def test_raw_is_the_text_of_the_element() -> None:
    """`raw` is the element as it came, without what stands around it."""
    elements = fast[Job](b'\n[ {"a" :\t[ 1 ]} , "x"\n,2 ] ')
    assert [element.raw for element in elements] == [b'{"a" :\t[ 1 ]}', b'"x"', b"2"]
    assert [element.index for element in elements] == [0, 1, 2]


@pytest.mark.fault("S1", "S2")
@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"[", b"]", b"{}", b"null", b'"[]"', b"7", b"[]x", b"[],", b"[] []", b"[1,]"),
        *(b"[,]", b"[1 2]", b"[NaN]", b"[Infinity]", b"[01]", b"[1.]", b"[.5]", b"[+1]", b"['a']"),
        *(b'["\\q"]', b'["\\u00zz"]', b'["a\nb"]', b'["a\x00b"]', b"[tru]", b'[{"a"}]', b"[{a:1}]"),
        *(
            b"\xef\xbb\xbf[]",
            b"[]\xff",
            b"[\xff]",
            "[1]".encode("utf-16"),
            b'{"jobs":[]}',
            b"[/**/]",
        ),
    ],
)
@pytest.mark.parametrize("decode", [fast[Job], plain[Job]], ids=["fast", "plain"])
def test_no_array(decode: Any, text: bytes) -> None:
    """What is no JSON array is a `DecodeError` on both lanes."""
    with pytest.raises(msgspec.DecodeError):
        decode(text)


@pytest.mark.parametrize("text", [b"[]", b" [ ] ", b"\n[\t]\r\n"])
@pytest.mark.parametrize("decode", [fast[Job], plain[Job]], ids=["fast", "plain"])
def test_empty_array(decode: Any, text: bytes) -> None:
    """An empty array has no elements."""
    assert list(decode(text)) == []


@pytest.mark.fault("S3")
@pytest.mark.parametrize("field", ["unknown", "error"])
def test_depth(field: str) -> None:
    """Deep nesting is kept or ignored as long as Python can follow, and an error beyond."""
    decoders = fast[Job], plain[Job]
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        fair = array(wire({field: opening * 150 + b"1" + closing * 150}))
        assert seen(decoders[0], fair) == seen(decoders[1], fair)
        assert isinstance(decoders[0](fair)[0], Job)
        deep = array(wire({field: opening * 200_000 + b"1" + closing * 200_000}))
        assert [seen(decode, deep) for decode in decoders] == ["RecursionError"] * 2


@pytest.mark.fault("S3")
def test_too_deep_for_python() -> None:
    """An error that Python cannot walk through is a bad element with a reason of its own."""
    for depth in range(400, 2000, 25):
        text = array(wire({"error": b"[" * depth + b"]" * depth}), wire())
        first, second = fast[Job](text)
        assert isinstance(second, Job)
        if isinstance(first, InvalidElement):
            break
    assert first.reason.startswith("nested too deeply @ $")


@pytest.mark.fault("S4")
@pytest.mark.parametrize("digits", [4298, 4299, 4300, 4301, 5000])
@pytest.mark.parametrize("sign", [b"", b"-"])
@pytest.mark.parametrize("field", ["pageCount", "error", "unknown"])
def test_lanes_agree_on_long_integers(field: str, sign: bytes, digits: int) -> None:
    """Integers around the longest that Python converts fare the same on both lanes."""
    text = array(wire({field: sign + b"7" * digits}), wire())
    results = [[type(element) for element in lane[Job](text)] for lane in (fast, plain)]
    assert results[0] == results[1]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
moments = st.datetimes(min_value=datetime(2, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.isoformat().replace("+00:00", "Z")
)
integers = st.integers() | st.sampled_from([0, -1, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**400])
finite = st.floats(allow_nan=False, allow_infinity=False)
junk = st.recursive(
    st.none() | st.booleans() | integers | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def objects(optional: dict[str, Any], **required: Any) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


jobs = objects(
    {
        "externalId": st.none() | texts,
        "limits": objects({"maxDeclaredBytes": integers, "maxFiles": integers}),
        "pageCount": integers,
        "successfulPageCount": integers,
        "billing": objects({"creditsDebited": integers}),
        "files": st.lists(objects({"id": texts, "fileName": texts, "status": texts}), max_size=3),
        "resultUrl": st.none() | texts,
        "error": junk | objects({"message": texts}, code=texts),
        "completedAt": st.none() | moments,
        "expiresAt": st.none() | moments,
        "newField": junk,
    },
    id=texts,
    projectId=texts,
    status=st.sampled_from(["completed", "processing", "paused", ""]) | texts,
    createdAt=moments,
    updatedAt=moments,
)
projects = objects(
    {
        "name": texts,
        "projectKind": texts,
        "runtime": objects({"status": texts, "upgradeStatus": st.none() | texts}),
        "newField": junk,
    },
    **{key: moments if key.endswith("At") else texts for key in PROJECT},
)

RAW = [
    *(b"null", b"true", b"0", b"-0", b"1.0", b"1e2", b"-0.0", b"1e999", b"-1e999", b"1e-999"),
    *(b"9223372036854775808", b"18446744073709551616", b"7" * 4299, b"7" * 5000, b'"7"', b"{}"),
    *(
        b"[]",
        b"[null]",
        b"[{}]",
        b'{"code":7}',
        b'{"a":[1e999]}',
        b'{"a":1,"a":{"b":2}}',
        b"[" * 60,
    ),
    *(b'"2024-11-02T12:00:00"', b'"2024-11-02T12:00:00Z"', b'"2024-11-02T12:00:00.5+05:45"'),
    *(b'"2024-11-02t12:00:00z"', b'"2024-11-02 12:00:00+0100"', b'"2024-11-02T12:00:00-00:00"'),
    *(b'"2024-11-02T12:00:00.9999999Z"', b'"9999-12-31T23:59:59.9999999Z"', b'"2024-11-02"'),
    *(b'"0001-01-01T00:00:00+00:01"', b'"9999-12-31T23:59:59-00:01"', b'"2024-13-02T12:00:00Z"'),
    *(b'"\xff"', b'"\xed\xa0\x80"', b'"\xc3"', b'"\\ud83d"', b'"\\ude00"', b'"\\ud83d\\ude00"'),
    *(
        b'"\\q"',
        b'"\n"',
        b'"\\u0000"',
        b'"completed"',
        b"NaN",
        b"01",
        b"[" * 90 + b"]" * 90,
        b"nul",
    ),
]
PATHS = [
    *(
        "id",
        "status",
        "externalId",
        "pageCount",
        "files",
        "resultUrl",
        "error",
        "limits",
        "billing",
    ),
    *("createdAt", "updatedAt", "completedAt", "expiresAt", "unknown", "name", "runtime"),
    *("limits.maxFiles", "billing.creditsDebited", "files.fileName", "error.code", "unknown.deep"),
    "runtime.upgradeStatus",
]


@st.composite
def mutated(draw: Any, valid: Any) -> bytes:
    """Draw a valid element and damage it: fields removed, replaced or doubled, or bytes cut."""
    value = draw(valid)
    raw: dict[bytes, bytes] = {}
    for number in range(draw(st.integers(0, 2))):
        first, _, second = draw(st.sampled_from(PATHS)).partition(".")
        mark = f"\x01{number}"
        raw[json.dumps(mark).encode()] = draw(st.sampled_from(RAW))
        how = draw(st.sampled_from(["remove", "replace", "double"]))
        if how == "remove":
            value.pop(first, None)
        elif how == "double":
            value[f"\x02{first}"] = mark
        elif second:
            value[first] = [{second: mark}] if first == "files" else {second: mark}
        else:
            value[first] = mark
    ascii_only = draw(st.booleans())
    text = json.dumps(value, ensure_ascii=ascii_only, indent=draw(st.sampled_from([None, 1])))
    element = text.encode().replace(b"\\u0002", b"")
    for mark, replacement in raw.items():
        element = element.replace(mark, replacement)
    return element


@moderately
@given(st.lists(jobs, max_size=4), st.booleans(), st.sampled_from([None, 2]))
def test_mirror_takes_what_is_valid(
    values: list[Any], ascii_only: bool, indent: int | None
) -> None:
    """Valid jobs pass the fast lane itself, and are what the plain converter makes of them."""
    text = json.dumps(values, ensure_ascii=ascii_only, indent=indent).encode()
    expected = [rules.structure(value, Job) for value in json.loads(text)]
    assert list(mirror.decode(text)) == expected
    assert seen(mirror.decode, text) == seen(fast[Job], text) == seen(plain[Job], text)


@pytest.mark.fault("S2", "S4", "S5")
@pytest.mark.parametrize(("cls", "valid"), [(Job, jobs), (Project, projects)])
def test_lanes_agree(cls: type, valid: Any) -> None:
    """Valid and damaged documents give the same objects and refusals on both lanes."""

    @moderately
    @given(st.lists(mutated(valid), min_size=1, max_size=3))
    def check(elements: list[bytes]) -> None:
        assert seen(fast[cls], array(*elements)) == seen(plain[cls], array(*elements))

    check()


@moderately
@given(st.lists(mutated(jobs), min_size=2, max_size=4))
def test_neighbours_do_not_matter(elements: list[bytes]) -> None:
    """An element fares in a batch as it does alone, unless the batch is no array at all."""
    together = seen(fast[Job], array(*elements))
    alone = [seen(fast[Job], array(element)) for element in elements]
    if isinstance(together, str) or any(isinstance(result, str) for result in alone):
        assert together in alone
    else:
        numbered = [r.replace("'index': 0", f"'index': {n}") for n, (r,) in enumerate(alone)]
        assert together == numbered


@moderately
@given(st.data())
def test_lanes_agree_on_any_bytes(data: Any) -> None:
    """One byte changed, cut or put in anywhere leaves the lanes of one mind."""
    text = array(wire(externalId="ü", error={"code": "x", "n": [1.5]}), wire({"a": '"é"'.encode()}))
    place = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(
        st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"{", b"]", b",", b"-", b"0"])
    )
    text = text[:place] + new + text[place + data.draw(st.integers(0, 2)) :]
    assert seen(fast[Job], text) == seen(plain[Job], text)


def test_other_offsets_are_left_to_the_plain_lane() -> None:
    """The mirror itself never makes a timestamp that is not in UTC."""
    for field in ("createdAt", "updatedAt", "completedAt", "expiresAt"):
        text = array(wire(**{field: "2024-11-02T13:00:00+01:00"}))
        with pytest.raises(NotMirrored):
            mirror.decode(text)
        (job,) = fast[Job](text)
        assert make_converter().unstructure(job)[field] == NOON


def test_mirror_of_other_classes() -> None:
    """Types that JSON does not have are made by their functions, and refused without one."""

    @attrs.frozen
    class Odd:
        error: JobError
        file: JobFile | None = None
        limits: JobLimits | None = None
        lower: JobLimits | None = None
        share: Fraction | None = None

    odd = Mirror(Odd, rename=camel, from_json={JobError: error_from_json, JobFile: as_file})
    expected = Odd(JobError(raw=1), JobFile(id="x"), JobLimits(max_files=1), JobLimits())
    text = b'[{"error":1,"file":"x","limits":{"maxFiles":1},"lower":{}}]'
    assert list(odd.decode(text)) == [expected]
    with pytest.raises(msgspec.ValidationError):
        odd.decode(b'[{"error":1,"share":"1/2"}]')


def as_file(value: Any) -> JobFile:
    return JobFile(id=value)


def test_own_datetime_hook() -> None:
    """A converter of the caller's own is used for every element, good or bad."""
    converter = make_converter()
    converter.register_structure_hook(datetime, lambda value, _: datetime.fromtimestamp(value, UTC))
    good, bad = elements_by(converter, Job)(array(wire(createdAt=0, updatedAt=1), wire()))
    assert (good.created_at, good.updated_at.second) == (datetime(1970, 1, 1, tzinfo=UTC), 1)
    assert bad.reason == (
        "refused with TypeError @ $.created_at; refused with TypeError @ $.updated_at"
    )


class OddError(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("canary")


@pytest.mark.parametrize(
    "odd",
    [
        OddError("canary"),
        ValueError("canary"),
        ExceptionGroup("canary", [ValueError("canary")]),
        StopIteration("canary"),
        MemoryError("canary"),
        AssertionError("canary"),
        cattrs.ForbiddenExtraKeysError("canary", JobLimits, {"canary"}),
        msgspec.ValidationError("canary"),
        KeyError("canary"),
    ],
    ids=lambda odd: type(odd).__name__,
)
@pytest.mark.parametrize("detailed", [True, False])
def test_odd_exceptions(odd: Exception, detailed: bool) -> None:
    """Whatever the caller's hooks raise is a bad element, by the name of its type alone."""

    def refuse(value: Any, _: Any) -> Any:
        raise odd

    converter = make_converter().copy(detailed_validation=detailed)
    converter.register_structure_hook(JobLimits, refuse)
    bad, good = elements_by(converter, Job)(array(wire(limits={"maxFiles": 1}), wire()))
    path = "$.limits" if detailed else "$"
    assert (bad.index, bad.path) == (0, path)
    assert bad.reason == f"refused with {type(odd).__name__} @ {path}"
    assert isinstance(good, Job)


def test_forbidden_extra_keys() -> None:
    """A converter that forbids unknown fields refuses them in batches too."""
    strict = make_converter().copy(forbid_extra_keys=True)
    (element,) = elements_by(strict, Job)(array(wire(canary=1)))
    assert isinstance(element, InvalidElement)
    assert element.reason == "refused with ForbiddenExtraKeysError @ $"


def test_interrupts_pass() -> None:
    """What is no `Exception`, such as Ctrl-C, passes through a batch untouched."""

    def interrupt(value: Any, _: Any) -> Any:
        raise KeyboardInterrupt

    converter = make_converter()
    converter.register_structure_hook(JobLimits, interrupt)
    with pytest.raises(KeyboardInterrupt):
        elements_by(converter, Job)(array(wire(limits={})))


def test_a_batch_of_the_plain_lane_is_small() -> None:
    """A long array of bad elements is taken a few at a time, each made when its batch is taken."""
    made = 0

    def count(value: Any, _: Any) -> Any:
        nonlocal made
        made += 1
        raise ValueError

    converter = make_converter()
    converter.register_structure_hook(Job, count)
    batches = array_decoder(converter, Job)(array(*[b"0"] * 1000))
    sizes = []
    for batch in batches:
        sizes.append(len(batch))
        assert sum(sizes) == made
    assert made == 1000
    assert max(sizes) <= 32
