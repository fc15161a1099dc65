"""Jobs as Arrow columns: one schema, derived from the models, and the way from jobs to it.

A batch is turned column by column: for each field of the models all values are taken at once and
handed to Arrow in one call, so that no dictionary is made for any job. pyarrow is imported when it
is used, and not before.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import accumulate, chain
from operator import attrgetter
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

import attrs

from plangrep_async.errors import ConfigurationError, InvalidResponse, printable
from plangrep_async.models import Job, JobStatus

if TYPE_CHECKING:
    import pyarrow as pa

_Build = Callable[[Sequence[Any]], Any]  # from values to an Arrow array of them

_SECRET = "result_url"  # noqa: S105  # the name of a column


def job_schema(*, with_result_url: bool = False) -> "pa.Schema":
    """Give the Arrow schema of jobs: what Parquet files have, and each batch.

    The columns are the fields of `Job`, by their names and in their order: texts and the status are
    `string`, counts `int64`, times `timestamp[us, tz=UTC]`; `limits`, `billing` and `error` are
    structs, `files` is a list of structs, and `error.raw` is the JSON text of what the API sent. A
    column is nullable where the field can be None. `result_url`, which carries a token, is there
    only when it is asked for. Raises `ConfigurationError` where pyarrow is not installed.
    """
    schema: pa.Schema = _columns(with_result_url)[0]
    return schema


def job_batch(jobs: Iterable[Job], *, with_result_url: bool = False) -> "pa.RecordBatch":
    """Turn some jobs into one Arrow record batch of exactly `job_schema()`, in their order.

    All of them are in memory at once: a batch is meant to be some thousands. An Arrow column takes
    2 GiB of text. Raises `InvalidResponse` for a count of more than 64 bits, and
    `ConfigurationError` where pyarrow is not installed.
    """
    schema, builders = _columns(with_result_url)
    rows = jobs if isinstance(jobs, Sequence) else list(jobs)
    arrays = [_column(name, build, rows) for name, build in builders]
    batch: pa.RecordBatch = import_pyarrow().RecordBatch.from_arrays(arrays, schema=schema)
    return batch


def import_pyarrow() -> Any:
    """Give pyarrow, or say what to install."""
    try:
        import pyarrow  # noqa: PLC0415  # it comes with an extra
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise ConfigurationError(
            "Arrow and Parquet need pyarrow: pip install 'plangrep-async[parquet]'"
        ) from None
    return pyarrow


@cache
def _columns(with_result_url: bool) -> tuple[Any, list[tuple[str, _Build]]]:  # noqa: FBT001
    """Derive the schema, and for each of its columns how it is made of jobs."""
    pa = import_pyarrow()
    fields = [f for f in attrs.fields(Job) if with_result_url or f.name != _SECRET]
    columns = [_derive(field.type, pa) for field in fields]
    schema = pa.schema(
        [
            pa.field(field.name, tp, nullable=_is_nullable(field.type))
            for field, (tp, _) in zip(fields, columns, strict=True)
        ]
    )
    return schema, [(f.name, build) for f, (_, build) in zip(fields, columns, strict=True)]


def _column(name: str, build: _Build, jobs: Sequence[Job]) -> Any:
    try:
        return build(list(map(attrgetter(name), jobs)))
    except OverflowError:
        pass  # its context would hold what a server sent
    if len(jobs) > 1:
        for job in jobs:  # find out whose it is
            _column(name, build, [job])
    raise InvalidResponse(
        f"{name} of job {printable(jobs[0].id)} is a number of more than 64 bits",
        project_id=jobs[0].project_id,
    )


def _is_nullable(tp: Any) -> bool:
    return tp is Any or (isinstance(tp, UnionType) and NoneType in get_args(tp))


def _derive(tp: Any, pa: Any) -> tuple[Any, _Build]:
    """Give the Arrow type of a field's type, and the function that makes arrays of it."""
    if isinstance(tp, UnionType):
        (tp,) = (part for part in get_args(tp) if part is not NoneType)
    if attrs.has(tp):
        return _derive_struct(tp, pa)
    if get_origin(tp) is tuple:
        return _derive_list(get_args(tp)[0], pa)
    if tp is Any:
        return pa.string(), lambda values: pa.array(map(_json_text, values), pa.string())
    arrow = {
        str: pa.string(),
        JobStatus: pa.string(),
        int: pa.int64(),
        datetime: pa.timestamp("us", tz="UTC"),
    }[tp]
    return arrow, lambda values: pa.array(values, arrow)


def _derive_struct(cls: Any, pa: Any) -> tuple[Any, _Build]:
    parts = [(attrgetter(f.name), *_derive(f.type, pa), f) for f in attrs.fields(cls)]
    fields = [pa.field(f.name, tp, nullable=_is_nullable(f.type)) for _, tp, _, f in parts]
    arrow = pa.struct(fields)

    def build(values: Sequence[Any]) -> Any:
        gaps = [value is None for value in values]
        if all(gaps):
            return pa.nulls(len(values), arrow)
        mask = None
        if any(gaps):
            mask = pa.array(gaps)
            values = [value or cls() for value in values]  # what the mask hides
        arrays = [part(list(map(get, values))) for get, _, part, _ in parts]
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=mask)

    return arrow, build


def _derive_list(item: Any, pa: Any) -> tuple[Any, _Build]:
    inner, build_items = _derive(item, pa)
    # Parquet's own name for it, so that a schema is the same when it is read back.
    arrow = pa.list_(pa.field("element", inner, nullable=_is_nullable(item)))

    def build(values: Sequence[Any]) -> Any:
        offsets = pa.array(accumulate(map(len, values), initial=0), pa.int32())
        items = build_items(list(chain.from_iterable(values)))
        return pa.ListArray.from_arrays(offsets, items, type=arrow)

    return arrow, build


def _json_text(value: Any) -> str | None:
    """Write any JSON value; Python's None is no value here."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
