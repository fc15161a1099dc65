"""The converter holds all rules of the wire by itself, in both directions."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import NoneType, UnionType
from typing import Any, get_args

import attrs
import cattrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import converter as module
from plangrep_async._elements import array_decoder
from plangrep_async.converter import camel, follows_our_rules, make_converter
from plangrep_async.models import (
    Job,
    JobBilling,
    JobError,
    JobFile,
    JobLimits,
    JobStatus,
    Project,
    ProjectRuntime,
)
from tests.conftest import wire_job

NOON = "2024-11-02T12:00:00.000Z"

WIRE: dict[type, dict[str, tuple[str, Any]]] = {
    JobLimits: {
        "max_declared_bytes": ("maxDeclaredBytes", 10_000_000_000),
        "max_files": ("maxFiles", 100),
    },
    JobBilling: {"credits_debited": ("creditsDebited", 1824)},
    JobFile: {
        "id": ("id", "file_1"),
        "file_name": ("fileName", "plan {rev 2}.pdf"),
        "status": ("status", "completed"),
    },
    Job: {
        "id": ("id", "job_1"),
        "external_id": ("externalId", "order-7890"),
        "status": ("status", "completed"),
        "project_id": ("projectId", "proj_1"),
        "limits": ("limits", {"maxDeclaredBytes": 1, "maxFiles": 2}),
        "page_count": ("pageCount", 204),
        "successful_page_count": ("successfulPageCount", 203),
        "billing": ("billing", {"creditsDebited": 3}),
        "files": ("files", [{"id": "file_1", "fileName": "a.pdf", "status": "failed"}]),
        "result_url": ("resultUrl", "https://storage.plangrep.com/results/job_1?token=x"),
        "error": ("error", {"code": "no_pages", "pages": [1, {"a": None}]}),
        "created_at": ("createdAt", NOON),
        "updated_at": ("updatedAt", "2024-11-02T12:00:00.001Z"),
        "completed_at": ("completedAt", "2024-11-02T12:00:00.020Z"),
        "expires_at": ("expiresAt", "2024-11-02T12:00:00.300Z"),
    },
    ProjectRuntime: {
        "status": ("status", "running"),
        "upgrade_status": ("upgradeStatus", "none"),
    },
    Project: {
        "id": ("id", "proj_1"),
        "name": ("name", "Tower"),
        "project_kind": ("projectKind", "open_api"),
        "status": ("status", "ready"),
        "runtime": ("runtime", {"status": "running", "upgradeStatus": "none"}),
        "created_at": ("createdAt", NOON),
        "updated_at": ("updatedAt", NOON),
    },
}
FIELDS = [(model, name) for model, fields in WIRE.items() for name in fields]
REQUIRED = {
    Job: {"id", "status", "project_id", "created_at", "updated_at"},
    Project: {"id", "status", "created_at", "updated_at"},
}
VALUES: dict[str, Any] = {
    "null": None,
    "a boolean": True,
    "a number": 7,
    "a string": "seven",
    "an array": [],
    "an object": {},
}
PLAIN_TYPES = {
    int: ("an integer", "a number"),
    str: ("a string", "a string"),
    JobStatus: ("a string", "a string"),
    datetime: ("a string", None),
    tuple[JobFile, ...]: ("an array", "an array"),
    JobLimits: ("an object", "an object"),
    JobBilling: ("an object", "an object"),
    ProjectRuntime: ("an object", "an object"),
}
NO_TIME = "expected an ISO 8601 timestamp with an offset or Z"

rules = make_converter()

each_field = pytest.mark.parametrize(("model", "name"), FIELDS)


def full(model: type, **changes: Any) -> dict[str, Any]:
    return dict(WIRE[model].values()) | changes


def faults(value: Any, model: type = Job) -> list[str]:
    with pytest.raises(cattrs.ClassValidationError) as caught:
        rules.structure(value, model)
    return cattrs.transform_error(caught.value, format_exception=lambda error, _: str(error))


def moment(text: str) -> datetime:
    return rules.structure(full(Job, createdAt=text), Job).created_at


def test_table_holds_every_field() -> None:
    """No field of a model is missing from the table that the other tests go by."""
    for model, fields in WIRE.items():
        assert [field.name for field in attrs.fields(model)] == list(fields)


@pytest.mark.parametrize("model", list(WIRE))
def test_round_trip(model: type) -> None:
    """A whole object becomes its model and comes back as it was, keys in the same order."""
    converter = make_converter()
    back = converter.unstructure(converter.structure(full(model), model))
    assert back == full(model)
    assert list(back) == list(full(model))


@each_field
def test_names(model: type, name: str) -> None:
    """Each field goes by its camelCase name on the wire, and by no other."""
    key, value = WIRE[model][name]
    assert camel(name) == key
    converter = make_converter()
    made = converter.structure(full(model), model)
    assert converter.unstructure(getattr(made, name)) == value
    if key != name:
        assert converter.structure(full(model, **{name: object()}), model) == made


@pytest.mark.fault("S7")
@each_field
def test_missing(model: type, name: str) -> None:
    """A field that is missing takes its default, and only the required ones are missed."""
    key, _ = WIRE[model][name]
    given_fields = {k: v for k, v in full(model).items() if k != key}
    if name in REQUIRED.get(model, set()):
        assert faults(given_fields, model) == [f"'{key}' @ $.{name}"]
    else:
        made = make_converter().structure(given_fields, model)
        assert getattr(made, name) == attrs.fields_dict(model)[name].default


@pytest.mark.parametrize(("model", "required"), REQUIRED.items())
def test_only_required(model: type, required: set[str]) -> None:
    """An object of the required fields alone is enough: the guides show such jobs."""
    short = dict(WIRE[model][name] for name in required)
    made = make_converter().structure(short, model)
    for field in attrs.fields(model):
        assert (field.name in required) == (field.default is attrs.NOTHING)
        assert field.name in required or getattr(made, field.name) == field.default


@pytest.mark.fault("S7")
@each_field
def test_types(model: type, name: str) -> None:
    """Each field takes its own type, and null where the API allows it; all else is refused."""
    tp = attrs.fields_dict(model)[name].type
    parts = get_args(tp) if isinstance(tp, UnionType) else (tp,)
    for kind, value in VALUES.items():
        wire = full(model, **{WIRE[model][name][0]: value})
        if value is None and NoneType in parts:
            assert getattr(rules.structure(wire, model), name) is None
        elif JobError in parts:
            assert rules.structure(wire, model).error == JobError(raw=value)
        elif kind == PLAIN_TYPES[parts[0]][1]:
            made = getattr(rules.structure(wire, model), name)
            assert made == (value or parts[0]())
        elif parts[0] is datetime and kind == "a string":
            assert faults(wire, model) == [f"{NO_TIME} @ $.{name}"]
        else:
            expected = f"expected {PLAIN_TYPES[parts[0]][0]}, got {kind}"
            assert faults(wire, model) == [f"{expected} @ $.{name}"]


@pytest.mark.parametrize("value", [None, 7, "job", [], [1], True, 1.5])
@pytest.mark.parametrize("model", list(WIRE))
def test_no_object(model: type, value: Any) -> None:
    """What is no object is no model."""
    with pytest.raises(ValueError, match=r"^expected an object, got "):
        make_converter().structure(value, model)


@pytest.mark.fault("S4")
@pytest.mark.parametrize("value", [True, False, "7", "", 1.0, 1e2, -0.0, math.inf, math.nan])
@pytest.mark.parametrize("key", ["pageCount", "successfulPageCount"])
def test_integers_are_strict(key: str, value: Any) -> None:
    """Nothing that merely looks like an integer is one."""
    assert len(faults(full(Job, **{key: value}))) == 1


@pytest.mark.fault("S4")
@pytest.mark.parametrize(
    "value", [0, -1, 2**53 + 1, 2**63, 2**64, -(2**64) - 1, 10**5000], ids=int.bit_length
)
def test_integers_are_exact(value: int) -> None:
    """Integers of any size keep their value, as integers, in both directions."""
    converter = make_converter()
    made = converter.structure({"creditsDebited": value}, JobBilling)
    assert type(made.credits_debited) is int
    assert made.credits_debited == value
    assert converter.unstructure(made) == {"creditsDebited": value}


@pytest.mark.parametrize("text", ["", "\0", "\ud83d", "😀", "x" * 2**16, "null", "7"])
def test_texts_are_kept(text: str) -> None:
    """Texts come through as they are, whatever is in them."""
    made = make_converter().structure(full(Job, externalId=text, id=text, status=text), Job)
    assert (made.external_id, made.id, made.status.value) == (text, text, text)
    back = make_converter().unstructure(made)
    assert (back["externalId"], back["id"], back["status"]) == (text, text, text)
    assert type(back["status"]) is str


@pytest.mark.parametrize("files", [None, {}, "abc", 7, {"0": {}}, ()])
def test_files_must_be_an_array(files: Any) -> None:
    """Files are an array: no object, no text, and no null."""
    (fault,) = faults(full(Job, files=files))
    assert fault.startswith("expected an array, got ")
    assert fault.endswith(" @ $.files")


def test_a_bad_list_names_its_type() -> None:
    """cattrs' own error of a list says what was made there, for who converts by hand."""
    files = tuple[JobFile, ...]
    with pytest.raises(cattrs.IterableValidationError, match="While structuring") as raised:
        make_converter().structure([{"id": 1}], files)
    assert raised.value.message == f"While structuring {files!r}"


def test_faults_are_all_named() -> None:
    """Every fault of an object is named, with its path, in the order of the fields."""
    wire = full(Job, limits={"maxFiles": "3"}, files=[{}, {"id": 1, "status": None}], updatedAt="x")
    del wire["id"]
    assert faults(wire) == [
        "'id' @ $.id",
        "expected an integer, got a string @ $.limits.max_files",
        "expected a string, got a number @ $.files[1].id",
        "expected a string, got null @ $.files[1].status",
        f"{NO_TIME} @ $.updated_at",
    ]


@pytest.mark.fault("S9")
@pytest.mark.parametrize("model", list(WIRE))
def test_unknown_fields(model: type) -> None:
    """Fields that this version does not know are ignored, whatever they hold."""
    converter = make_converter()
    wire = full(model, newField={"a": [None, math.inf]}, **{"": 1, "__class__": "x", "self": 2})
    assert converter.structure(wire, model) == converter.structure(full(model), model)


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ({"code": "no_pages", "message": "No pages."}, "no_pages", "No pages."),
        ({"code": 7, "message": ["x"]}, None, None),
        ({"code": None}, None, None),
        ({}, None, None),
        ({"error": {"code": "inner"}}, None, None),
        ([{"code": "in a list"}], None, None),
        ("just text", None, None),
        ("", None, None),
        (0, None, None),
        (-1.5, None, None),
        (False, None, None),
        ([], None, None),
    ],
)
def test_error_of_any_shape(value: Any, code: str | None, message: str | None) -> None:
    """The error of a job is kept whatever its shape; code and message are read where texts."""
    converter = make_converter()
    job = converter.structure(full(Job, error=value), Job)
    assert job.error == JobError(code=code, message=message, raw=value)
    assert type(job.error.raw) is type(value)
    back = converter.unstructure(job)["error"]
    assert (type(back), back) == (type(value), value)


@pytest.mark.fault("S1")
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": [0, {"b": v}]}])
def test_error_is_finite(value: float, wrap: Callable[[Any], Any]) -> None:
    """Numbers beyond what JSON can say have no place in an error, however deep."""
    assert faults(full(Job, error=wrap(value))) == ["expected finite numbers @ $.error"]


def test_error_made_by_hand() -> None:
    """An error that came from no JSON is written as its code and message."""
    error = JobError(code="no_pages", message="No pages.")
    assert make_converter().unstructure(error) == {"code": "no_pages", "message": "No pages."}


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("2024-11-02T09:00:00.000Z", "2024-11-02T09:00:00.000Z"),
        ("2024-11-02T09:00:00Z", "2024-11-02T09:00:00.000Z"),
        ("2024-11-02T09:00:00.7Z", "2024-11-02T09:00:00.700Z"),
        ("2024-11-02T09:00:00.123456Z", "2024-11-02T09:00:00.123456Z"),
        ("2024-11-02T09:00:00.000001Z", "2024-11-02T09:00:00.000001Z"),
        ("2024-11-02T09:00:00+00:00", "2024-11-02T09:00:00.000Z"),
        ("2024-11-02T09:00:00-00:00", "2024-11-02T09:00:00.000Z"),
        ("2024-11-02T00:30:00+01:00", "2024-11-01T23:30:00.000Z"),
        ("2024-12-31T23:59:59.999-00:01", "2025-01-01T00:00:59.999Z"),
        ("2024-02-29T12:00:00+05:45", "2024-02-29T06:15:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_timestamps(text: str, back: str) -> None:
    """Timestamps become aware and UTC, and are written with milliseconds or all six digits."""
    made = moment(text)
    assert made.tzinfo is UTC
    assert made == datetime.fromisoformat(text)
    assert make_converter().unstructure(made) == back


@pytest.mark.parametrize(
    "text",
    [
        "2024-11-02T09:00:00",
        "2024-11-02T09:00:00.000",
        "2024-11-02",
        "2024-11-02T09:00Z",
        "2024-11-02T24:00:00Z",
        "2024-11-02T23:59:60Z",
        "2023-02-29T09:00:00Z",
        "2024-11-02T09:00:00+24:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.9999999Z",
        "1730538000",
        "now",
        "",
        " 2024-11-02T09:00:00Z",
        "\ud83d",
    ],
)
def test_timestamps_refused(text: str) -> None:
    """A timestamp without an offset, out of range or of another form is refused unseen."""
    wire = full(Job, completedAt=text)
    assert faults(wire) == [f"{NO_TIME} @ $.completed_at"]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),  # noqa: DTZ001
    st.integers(min_value=-1439, max_value=1439),
)
def test_timestamps_round_trip(naive: datetime, minutes: int) -> None:
    """Any aware moment comes back as the same moment, to the microsecond, in UTC."""
    there = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = rules.unstructure(there)
    assert text.endswith("Z")
    back = rules.structure(text, datetime)
    assert (back, back.tzinfo) == (there, UTC)
    assert rules.structure(there.isoformat(timespec="microseconds"), datetime) == there


def test_hooks_registered_later() -> None:
    """Hooks of the caller's, for a type or a model, are seen even after the first use."""
    converter = make_converter()
    assert converter.structure(full(Job), Job).created_at.year == 2024
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    converter.register_structure_hook(datetime, lambda value, _: epoch)
    converter.register_structure_hook(JobLimits, lambda value, _: JobLimits(max_files=-1))
    converter.register_unstructure_hook(datetime, lambda value: "then")
    job = converter.structure(full(Job), Job)
    assert (job.created_at, job.completed_at, job.limits.max_files) == (epoch, epoch, -1)
    assert converter.unstructure(job)["completedAt"] == "then"


def test_hooks_on_a_copy() -> None:
    """Hooks on a copy are seen by the copy and leave the original alone."""
    original = make_converter()
    before = original.structure(full(Job), Job)
    twin = original.copy()
    twin.register_structure_hook(JobFile, lambda value, _: JobFile(id="hooked"))
    assert twin.structure(full(Job), Job).files == (JobFile(id="hooked"),)
    assert original.structure(full(Job), Job) == before
    assert (follows_our_rules(original, Job), follows_our_rules(twin, Job)) == (True, False)


@pytest.mark.parametrize("model", [*WIRE, JobError, str, int, datetime, JobStatus])
def test_follows_our_rules(model: type) -> None:
    """A fresh converter follows the rules for each model and leaf, and so does its copy."""
    assert follows_our_rules(make_converter(), model)
    assert follows_our_rules(make_converter().copy(), model)


@pytest.mark.parametrize(
    ("hooked", "job", "project"),
    [
        (Job, False, True),
        (JobLimits, False, True),
        (JobBilling, False, True),
        (JobFile, False, True),
        (JobError, False, True),
        (JobStatus, False, True),
        (tuple[JobFile, ...], False, True),
        (JobError | None, False, True),
        (datetime | None, False, True),
        (str | None, False, False),
        (Project, True, False),
        (ProjectRuntime, True, False),
        (str, False, False),
        (int, False, True),
        (datetime, False, False),
        (bytes, True, True),
    ],
)
def test_other_rules(hooked: Any, job: bool, project: bool) -> None:
    """A hook of the caller's counts for all that is made of its type, and for nothing else."""
    converter = make_converter()
    converter.register_structure_hook_func(lambda tp: tp == hooked, lambda value, _: value)
    if isinstance(hooked, type):
        converter.register_structure_hook(hooked, lambda value, _: value)
    assert (follows_our_rules(converter, Job), follows_our_rules(converter, Project)) == (
        job,
        project,
    )


def test_rules_of_other_converters() -> None:
    """A converter that was not made here has rules of its own."""
    converter = cattrs.Converter()
    converter.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
    assert not follows_our_rules(converter, Job)


def test_unstructure_hooks_are_no_other_rules() -> None:
    """Hooks for the way out leave the way in as it was."""
    converter = make_converter()
    converter.register_unstructure_hook(datetime, str)
    assert follows_our_rules(converter, Job)


def test_forbidden_extra_keys_are_other_rules() -> None:
    """A converter that forbids unknown fields does not follow the rules: here they are ignored."""
    assert not follows_our_rules(make_converter().copy(forbid_extra_keys=True), Job)


def test_unhashable_hook() -> None:
    """A hook may be any callable, such as an object that has no hash."""

    @attrs.define
    class Unhashable:
        def __call__(self, value: Any, _: Any) -> JobLimits:
            return JobLimits()

    converter = make_converter()
    converter.register_structure_hook(JobLimits, Unhashable())
    assert not follows_our_rules(converter, Job)


def test_nothing_is_compiled_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """To make a client, and to read with its fast lane, costs no compilation by cattrs."""
    compiled, compile_hook = [], module.make_dict_structure_fn

    def compiling(cls: type, *args: Any, **options: Any) -> Any:
        compiled.append(cls)
        return compile_hook(cls, *args, **options)

    monkeypatch.setattr(module, "make_dict_structure_fn", compiling)
    converter = make_converter()
    decode = array_decoder(converter, Job)
    array = json.dumps([wire_job(0)]).encode()
    (batch,) = decode(array)
    assert (compiled, len(list(batch))) == ([], 1)
    converter.structure(wire_job(0), Job)
    assert compiled[0] is Job
