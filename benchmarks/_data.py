"""Seeded documents in the API's shape, and the sums that each contender must arrive at.

The sums are taken from the values before they become JSON, so they depend on no parser. The same
specification always gives the same bytes.

Where it would mislead: ids, names and times are random, but drawn from short lists and with
every field present, so that all jobs of one shape are about equally long. Real histories are more
uneven. "typical" follows the example of the API's documentation (about 580 bytes a job when
compact), "small" has no files and every nullable field null, "huge" has 50 to 100 files a job.
"""

import json
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec

Shape = Literal["small", "typical", "huge"]

_NEWEST = datetime(2024, 11, 2, 9, tzinfo=UTC)
_IDS = "0123456789abcdefghjkmnpqrstvwxyz"
_ACTIVE = ("provisioning", "awaiting_uploads", "uploading", "preflighting", "processing")
_ENDED = (
    *("completed",) * 42,
    *("completed_with_errors",) * 3,
    *("cancelled",) * 3,
    *("failed", "expired"),
)
_NAMES = ("drawings", "site_plan", "level-02", "Grundriß EG", "details {rev B}", "schedule", "MEP")


@attrs.frozen(kw_only=True)
class Totals:
    """What every contender adds up; equal totals are the proof that it read the whole document."""

    jobs: int = 0
    page_count: int = 0
    files: int = 0
    credits_debited: int = 0
    completed: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(**{name: count + getattr(other, name) for name, count in self._counts()})

    def __mul__(self, times: int) -> "Totals":
        return Totals(**{name: times * count for name, count in self._counts()})

    def _counts(self) -> Iterable[tuple[str, int]]:
        return attrs.asdict(self).items()


@attrs.frozen(kw_only=True)
class Spec:
    """Which document: two equal specifications give the same bytes."""

    jobs: int
    shape: Shape = "typical"
    pretty: bool = False
    seed: int = 2024

    def __str__(self) -> str:
        """Name it in a heading."""
        form = "pretty-printed" if self.pretty else "compact"
        return f"{self.jobs:,} {self.shape} jobs, {form}"


@attrs.frozen(kw_only=True)
class Document:
    """One document on disk, with all that is known about it without parsing."""

    spec: Spec
    path: Path
    size_bytes: int
    totals: Totals


class Library:
    """Documents in one directory, each written when it is first asked for and kept from then on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._documents: dict[Spec, Document] = {}

    def document(self, spec: Spec) -> Document:
        """Return the document of this specification."""
        if spec not in self._documents:
            path = self._directory / f"{len(self._documents)}.json"
            self._documents[spec] = write(spec, path)
        return self._documents[spec]


def write(spec: Spec, path: Path) -> Document:
    """Write the document piece by piece; the whole of it is never in memory."""
    dump = _pretty if spec.pretty else _compact
    opening, comma, closing = (
        (b'{\n  "jobs": [\n    ', b",\n    ", b"\n  ]\n}")
        if spec.pretty
        else (b'{"jobs":[', b",", b"]}")
    )
    jobs = page_count = files = credits_debited = completed = 0
    with path.open("wb") as file:
        file.write(opening)
        for record in records(spec):
            file.write((comma if jobs else b"") + dump(record))
            jobs += 1
            page_count += record["pageCount"]
            files += len(record["files"])
            credits_debited += record["billing"]["creditsDebited"]
            completed += record["status"] == "completed"
        file.write(closing)
    totals = Totals(
        jobs=jobs,
        page_count=page_count,
        files=files,
        credits_debited=credits_debited,
        completed=completed,
    )
    return Document(spec=spec, path=path, size_bytes=path.stat().st_size, totals=totals)


def records(spec: Spec) -> Iterator[dict[str, Any]]:
    """Yield the jobs as plain values, newest first; the first few are still in progress."""
    rng = random.Random(spec.seed)
    project_id = _id(rng, "proj")
    full = spec.shape != "small"
    created = _NEWEST
    for index in range(spec.jobs):
        created -= timedelta(milliseconds=rng.randrange(1, 600_000))
        updated = created + timedelta(milliseconds=rng.randrange(1_000, 3_600_000))
        status = rng.choice(_ACTIVE if index < min(5, spec.jobs // 10) else _ENDED)
        ended = status not in _ACTIVE
        pages = rng.randrange(1, 400) if ended and status != "cancelled" else 0
        read = pages // 2 if status == "completed_with_errors" else pages
        job_id = _id(rng, "job")
        result_url = f"https://storage.plangrep.com/results/{job_id}?token=none"
        yield {
            "id": job_id,
            "externalId": f"order-{rng.randrange(10**6)}" if full and rng.random() < 0.5 else None,
            "status": status,
            "projectId": project_id,
            "limits": {"maxDeclaredBytes": 10_000_000_000, "maxFiles": 100},
            "pageCount": pages,
            "successfulPageCount": read,
            "billing": {"creditsDebited": 10 * read},
            "files": [_file(rng, status) for _ in range(_file_count(rng, spec.shape))],
            "resultUrl": result_url if full and read and rng.random() < 0.5 else None,
            "error": {"code": "failed", "message": "No page."} if status == "failed" else None,
            "createdAt": _timestamp(created),
            "updatedAt": _timestamp(updated),
            "completedAt": _timestamp(updated) if ended else None,
            "expiresAt": _timestamp(created + timedelta(days=7)) if full else None,
        }


def _file_count(rng: random.Random, shape: Shape) -> int:
    if shape == "small":
        return 0
    if shape == "huge":
        return rng.randint(50, 100)
    return rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 2))  # 1.2 a job


def _file(rng: random.Random, status: str) -> dict[str, str]:
    name = f"{rng.choice(_NAMES)}_{rng.randrange(1000)}.pdf"
    return {"id": f"file_{rng.getrandbits(40):010x}", "fileName": name, "status": status}


def _id(rng: random.Random, kind: str) -> str:
    return f"{kind}_01h{''.join(rng.choices(_IDS, k=23))}"


def _timestamp(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _compact(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _pretty(record: dict[str, Any]) -> bytes:
    # No string here holds a line feed, so each one in the text is indentation.
    return msgspec.json.format(_compact(record), indent=2).replace(b"\n", b"\n    ")
