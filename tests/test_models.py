"""Models are plain values: frozen, compared by value, open where the API is open."""

import copy
import json
import pickle
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import attrs
import pytest

from plangrep_async import models
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

SECRET = "https://storage.plangrep.com/results/job_1?token=canary"
NOON = datetime(2024, 11, 2, 12, tzinfo=UTC)
REQUIRED = attrs.NOTHING

TABLE: dict[type, dict[str, tuple[Any, Any]]] = {
    JobLimits: {"max_declared_bytes": (int, 0), "max_files": (int, 0)},
    JobBilling: {"credits_debited": (int, 0)},
    JobFile: {"id": (str, ""), "file_name": (str, ""), "status": (str, "")},
    JobError: {"code": (str | None, None), "message": (str | None, None), "raw": (Any, None)},
    Job: {
        "id": (str, REQUIRED),
        "external_id": (str | None, None),
        "status": (JobStatus, REQUIRED),
        "project_id": (str, REQUIRED),
        "limits": (JobLimits, JobLimits()),
        "page_count": (int, 0),
        "successful_page_count": (int, 0),
        "billing": (JobBilling, JobBilling()),
        "files": (tuple[JobFile, ...], ()),
        "result_url": (str | None, None),
        "error": (JobError | None, None),
        "created_at": (datetime, REQUIRED),
        "updated_at": (datetime, REQUIRED),
        "completed_at": (datetime | None, None),
        "expires_at": (datetime | None, None),
    },
    ProjectRuntime: {"status": (str, ""), "upgrade_status": (str | None, None)},
    Project: {
        "id": (str, REQUIRED),
        "name": (str, ""),
        "project_kind": (str, ""),
        "status": (str, REQUIRED),
        "runtime": (ProjectRuntime, ProjectRuntime()),
        "created_at": (datetime, REQUIRED),
        "updated_at": (datetime, REQUIRED),
    },
}

FULL: dict[type, dict[str, Any]] = {
    JobLimits: {"max_declared_bytes": 10_000_000_000, "max_files": 100},
    JobBilling: {"credits_debited": 1824},
    JobFile: {"id": "file_1", "file_name": "plan.pdf", "status": "completed"},
    JobError: {"code": "no_pages", "message": "No pages.", "raw": {"code": "no_pages"}},
    Job: {
        "id": "job_1",
        "external_id": "order-7890",
        "status": JobStatus.FAILED,
        "project_id": "proj_1",
        "limits": JobLimits(max_files=3),
        "page_count": 2,
        "successful_page_count": 1,
        "billing": JobBilling(credits_debited=20),
        "files": (JobFile(id="file_1"),),
        "result_url": SECRET,
        "error": JobError(code="no_pages", raw={"code": "no_pages", "pages": [1, 2]}),
        "created_at": NOON,
        "updated_at": NOON,
        "completed_at": NOON,
        "expires_at": NOON,
    },
    ProjectRuntime: {"status": "running", "upgrade_status": "none"},
    Project: {
        "id": "proj_1",
        "name": "Tower",
        "project_kind": "open_api",
        "status": "ready",
        "runtime": ProjectRuntime(status="running"),
        "created_at": NOON,
        "updated_at": NOON,
    },
}

STATUSES = {
    "provisioning": False,
    "awaiting_uploads": False,
    "uploading": False,
    "preflighting": False,
    "blocked_insufficient_credits": False,
    "processing": False,
    "completed": True,
    "completed_with_errors": True,
    "failed": True,
    "cancelled": True,
    "expired": True,
}

UNKNOWN = [
    "paused",
    "COMPLETED",
    "Completed",
    " completed",
    "",
    "JobStatus.FAILED",
    "пауза",
    "a\nb",
]

each_model = pytest.mark.parametrize("model", list(TABLE), ids=lambda model: model.__name__)
each_text = pytest.mark.parametrize("text", [*STATUSES, *UNKNOWN])


def test_table_holds_every_model() -> None:
    """No model of the module is missing from the table that the other tests go by."""
    here = vars(models).values()
    assert {tp for tp in here if isinstance(tp, type) and attrs.has(tp)} == set(TABLE)


@each_model
def test_fields(model: type) -> None:
    """Each model has the fields of the API, in its order, with their types and defaults."""
    fields = {field.name: (field.type, field.default) for field in attrs.fields(model)}
    assert list(fields.items()) == list(TABLE[model].items())


@each_model
def test_field_types_are_mirrored(model: type) -> None:
    """Each field has a type that the fast lane derives; timestamps stand at the top level only."""
    leaves = {str, int} | ({JobStatus, datetime} if model in {Job, Project} else set())

    def is_mirrored(tp: Any) -> bool:
        if isinstance(tp, UnionType):
            return len(get_args(tp)) == 2 and NoneType in get_args(tp) and is_mirrored(inner(tp))
        if get_origin(tp) is tuple:
            return get_args(tp)[1:] == (...,) and get_args(tp)[0] in {*leaves, *TABLE} - {datetime}
        return tp in leaves or tp in set(TABLE) - {Job, Project}

    def inner(tp: Any) -> Any:
        return next(part for part in get_args(tp) if part is not NoneType)

    made_by_function = {"raw"} if model is JobError else set()
    odd = {field.name for field in attrs.fields(model) if not is_mirrored(field.type)}
    assert odd == made_by_function


@each_model
def test_frozen(model: Any) -> None:
    """No field of a model can be set or deleted."""
    value = model(**FULL[model])
    for name in FULL[model]:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(value, name)
    assert value == model(**FULL[model])


@each_model
def test_slots(model: Any) -> None:
    """Models have slots: no dict of their own and no room for other attributes."""
    assert not hasattr(model(**FULL[model]), "__dict__")


@each_model
def test_keyword_only(model: Any) -> None:
    """Models refuse positional arguments and names that they do not have."""
    with pytest.raises(TypeError):
        model(*FULL[model].values())
    with pytest.raises(TypeError):
        model(**FULL[model], colour="blue")


@each_model
def test_required(model: Any) -> None:
    """Fields without a default must be given; all others take theirs."""
    needed = {name: FULL[model][name] for name, (_, d) in TABLE[model].items() if d is REQUIRED}
    value = model(**needed)
    for name, (_, default) in TABLE[model].items():
        assert getattr(value, name) == (FULL[model][name] if default is REQUIRED else default)
        if default is REQUIRED:
            with pytest.raises(TypeError, match=name):
                model(**{key: value for key, value in needed.items() if key != name})


@each_model
def test_equality_by_value(model: Any) -> None:
    """Models are equal when all fields are, and differ when one does."""
    value = model(**FULL[model])
    assert value == model(**FULL[model])
    for name in FULL[model]:
        assert value != attrs.evolve(value, **{name: "other"})
    assert value != tuple(FULL[model].values())


@each_model
def test_hash(model: Any) -> None:
    """Equal models have equal hashes, so that sets and dicts take them, failed jobs included."""
    assert len({model(**FULL[model]), model(**copy.deepcopy(FULL[model]))}) == 1


@each_model
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(model: Any, protocol: int) -> None:
    """A model comes back from a pickle equal, with its types."""
    value = model(**FULL[model])
    back = pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  # our own bytes
    assert back == value
    assert repr(back) == repr(value)
    assert copy.copy(value) == copy.deepcopy(value) == value


@pytest.mark.parametrize("render", [repr, str, "{}".format, ascii])
def test_result_url_is_not_shown(render: Any) -> None:
    """The text of a job shows neither the address of its result nor what its error holds."""
    error = JobError(code="no_pages", raw={"token": "canary"})
    text = render([Job(**{**FULL[Job], "error": error})])
    assert "job_1" in text
    assert "no_pages" in text
    assert "canary" not in text


def test_known_statuses() -> None:
    """The enum has exactly the documented statuses, named after their texts."""
    assert {status.name: str(status) for status in JobStatus} == {t.upper(): t for t in STATUSES}


@pytest.mark.parametrize(("text", "is_terminal"), STATUSES.items())
def test_known_status(text: str, is_terminal: bool) -> None:
    """A documented status is known, is the member itself, and knows whether it is final."""
    status = JobStatus(text)
    assert status is JobStatus[text.upper()]
    assert status.is_known
    assert status.is_terminal is is_terminal


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_status(text: str) -> None:
    """Any other text survives as a status that is neither known nor terminal."""
    status = JobStatus(text)
    assert (type(status), status.value, status.name, str(status)) == (JobStatus, text, text, text)
    assert not status.is_known
    assert not status.is_terminal
    assert status not in list(JobStatus)


@each_text
def test_status_is_its_text(text: str) -> None:
    """A status equals its text, hashes like it, and serves wherever the text does."""
    status = JobStatus(text)
    assert status == text == status
    assert status == JobStatus(text)
    assert status != text + "x"
    assert hash(status) == hash(text)
    assert {text: "found"}[status] == {status: "found"}[text] == "found"
    assert json.dumps({status: status}) == json.dumps({text: text})
    assert f"{status}" == text


@each_text
def test_status_copies(text: str) -> None:
    """A status comes back from pickles and copies as a status with the same text."""
    status = JobStatus(text)
    copies = [pickle.loads(pickle.dumps(status, p)) for p in range(6)]  # noqa: S301  # our own bytes
    for back in [*copies, copy.copy(status), copy.deepcopy(status)]:
        assert (type(back), back.value, back.is_known) == (JobStatus, text, text in STATUSES)


def test_status_in_match() -> None:
    """Statuses match by member and by text in a `match` statement."""

    def kind(status: JobStatus) -> str:
        match status:
            case JobStatus.COMPLETED:
                return "member"
            case "paused":
                return "text"
        return "other"

    kinds = [kind(JobStatus(text)) for text in ("completed", "paused", "COMPLETED")]
    assert kinds == ["member", "text", "other"]


@pytest.mark.parametrize("value", [None, 7, 1.5, True, b"completed", ["completed"], object()])
def test_status_refuses_other_types(value: object) -> None:
    """What is no text is no status."""
    with pytest.raises(ValueError, match="not a valid JobStatus"):
        JobStatus(value)


def test_enum_does_not_grow() -> None:
    """Unknown statuses leave no trace in the enum, however many come."""
    for number in range(1000):
        JobStatus(f"invented_{number}")
    assert len(JobStatus) == len(list(JobStatus)) == len(JobStatus.__members__) == len(STATUSES)
    assert set(JobStatus._value2member_map_) == set(STATUSES)
    with pytest.raises(AttributeError):
        _ = JobStatus.invented_1
