"""The models of the contenders with cattrs, and the usual hooks."""

from datetime import datetime
from typing import Any

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from benchmarks.contenders._status import JobStatus


@attrs.frozen
class JobLimits:
    max_declared_bytes: int
    max_files: int


@attrs.frozen
class JobBilling:
    credits_debited: int


@attrs.frozen
class JobFile:
    id: str
    file_name: str
    status: str


@attrs.frozen
class Job:
    id: str
    external_id: str | None
    status: JobStatus
    project_id: str
    limits: JobLimits
    page_count: int
    successful_page_count: int
    billing: JobBilling
    files: list[JobFile]
    result_url: str | None
    error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    expires_at: datetime | None


def with_hooks(converter: cattrs.Converter) -> cattrs.Converter:
    """Teach a converter the API's camelCase and its timestamps."""
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    for model in (JobLimits, JobBilling, JobFile, Job):  # a hook finds those it needs when made
        names = {field.name: override(rename=_camel(field.name)) for field in attrs.fields(model)}
        hook = make_dict_structure_fn(model, converter, **names)  # type: ignore[arg-type]
        converter.register_structure_hook(model, hook)
    return converter


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))
