"""What is in one made-up job: plausible for its status, in the API's field order.

Credits follow the default rates: 10 for a drawing's page, 1 for a document's; a page that failed
costs nothing. The statuses of files and the shape of `error` are not documented.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

Wire = dict[str, Any]

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
RESULT_STATUSES = frozenset({"completed", "completed_with_errors"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Stage(NamedTuple):
    """What a status says of a job's files, and of the share of their pages that succeeded."""

    file_status: str
    has_pages: bool = True  # pages are counted at preflight
    shares: tuple[float, float] = (0.0, 0.0)
    without_files: float = 0.0  # how often there is no file at all


_ACTIVE = {
    "provisioning": _Stage("awaiting_upload", has_pages=False, without_files=1.0),
    "awaiting_uploads": _Stage("awaiting_upload", has_pages=False),
    "uploading": _Stage("uploading", has_pages=False),
    "preflighting": _Stage("uploaded", has_pages=False),
    "blocked_insufficient_credits": _Stage("uploaded"),
    "processing": _Stage("processing", shares=(0.1, 0.9)),
}
_TERMINAL = {
    "completed": _Stage("completed", shares=(1.0, 1.0)),
    "completed_with_errors": _Stage("completed_with_errors", shares=(0.6, 0.99)),
    "failed": _Stage("failed", shares=(0.0, 0.3)),
    "cancelled": _Stage("cancelled", shares=(0.0, 0.5), without_files=0.6),
    "expired": _Stage("awaiting_upload", has_pages=False, without_files=0.3),
}
_STAGES = _ACTIVE | _TERMINAL
_HOW_OFTEN = zip(_TERMINAL, (80, 8, 4, 5, 3), strict=True)
_HUNDRED_ENDINGS = tuple(status for status, percent in _HOW_OFTEN for _ in range(percent))

ACTIVE_STATUSES = tuple(_ACTIVE)
"""The statuses that are not terminal, in the order of a job's life."""

_NEXT = {
    "provisioning": "awaiting_uploads",
    "awaiting_uploads": "uploading",
    "uploading": "preflighting",
    "preflighting": "processing",
    "blocked_insufficient_credits": "processing",
    "processing": "completed",
}

_COMMON_NAMES = (
    *("architectural_drawings", "site plan", "MEP schedule", "specification_vol", "level"),
    *("Grundriss Küche", "façade, élévation", "平面図 日本", "地下1階", "kitchen 🏗️"),
    *('detail "A"', "sections\\level", "O'Brien's permit set"),
)
_ODD_NAMES = ("plan {rev 2", "legend }rev ]3", '"},{"id":"', "two\nlines", "[superseded, see {4}")
_LIMITS = (10_000_000_000, 10_000_000_000, 2_000_000_000)
_ERRORS = (
    ("page_processing_failed", "Some pages could not be processed."),
    ("unsupported_file", 'The file "détail \\ A.dwg" is neither a drawing nor a document.'),
    ("internal_error", "Processing stopped unexpectedly {stage 3}. Create the job again."),
)


def timestamp(ms: int) -> str:
    """Return milliseconds since 1970 as the API writes a time."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def make_job(
    rng: random.Random, *, job_id: str, project_id: str, created_ms: int, status: str | None
) -> Wire:
    """Return a job of this status, or of a terminal one where the status is None."""
    is_terminal = status is None
    if status is None:
        status = rng.choice(_HUNDRED_ENDINGS)
    stage = _STAGES[status]
    files: list[Wire] = []
    pages = successful_pages = credits_debited = 0
    for _ in range(_file_count(rng, stage)):
        file_pages = rng.randint(1, 120) if stage.has_pages else 0
        file_successes = int(file_pages * rng.uniform(*stage.shares))
        is_drawing = rng.random() < 0.8
        pages += file_pages
        successful_pages += file_successes
        credits_debited += file_successes * (10 if is_drawing else 1)
        files.append(_file(rng, stage, suffix="dwg" if is_drawing else "pdf"))
    expires_ms = created_ms + 7 * DAY_MS
    took_ms = rng.randrange(MINUTE_MS // 3, 120 * MINUTE_MS)
    updated = timestamp(expires_ms if status == "expired" else created_ms + took_ms)
    return {
        "id": job_id,
        "externalId": _external_id(rng),
        "status": status,
        "projectId": project_id,
        "limits": {"maxDeclaredBytes": rng.choice(_LIMITS), "maxFiles": 100},
        "pageCount": pages,
        "successfulPageCount": successful_pages,
        "billing": {"creditsDebited": credits_debited},
        "files": files,
        "resultUrl": _result_url(rng, job_id) if status in RESULT_STATUSES else None,
        "error": _error(rng, status),
        "createdAt": timestamp(created_ms),
        "updatedAt": updated,
        "completedAt": updated if is_terminal else None,
        "expiresAt": timestamp(expires_ms),
    }


def next_status(status: str) -> str | None:
    """Return what comes after a status when all goes well; None after a terminal one."""
    return _NEXT.get(status)


def move_on(rng: random.Random, job: Wire, status: str) -> Wire:
    """Return the same job at another stage of its life; what it had stays, as far as it can.

    Raises `ValueError` for a status that the documentation does not name.
    """
    if status not in _STAGES:
        raise ValueError(f"There is no status {status!r}; there are {', '.join(_STAGES)}")
    stage = _STAGES[status]
    moment = datetime.fromisoformat(job["updatedAt"]) + timedelta(minutes=rng.randint(1, 20))
    updated = timestamp((moment - _EPOCH) // timedelta(milliseconds=1))
    if status == "expired":
        updated = job["expiresAt"]
    files = job["files"]
    if not files and stage.without_files == 0:
        files = [_file(rng, stage, suffix="dwg") for _ in range(rng.randint(1, 4))]
    pages = job["pageCount"]
    if not pages and stage.has_pages:
        pages = sum(rng.randint(1, 120) for _ in files)
    successes = max(job["successfulPageCount"], int(pages * rng.uniform(*stage.shares)))
    more = successes - job["successfulPageCount"]
    return {
        **job,
        "status": status,
        "pageCount": pages,
        "successfulPageCount": successes,
        "billing": {"creditsDebited": job["billing"]["creditsDebited"] + 10 * more},
        "files": [{**file, "status": stage.file_status} for file in files],
        "resultUrl": _result_url(rng, job["id"]) if status in RESULT_STATUSES else None,
        "error": _error(rng, status),
        "updatedAt": updated,
        "completedAt": updated if status in _TERMINAL else None,
    }


def _file_count(rng: random.Random, stage: _Stage) -> int:
    if rng.random() < stage.without_files:
        return 0
    return rng.randint(24, 90) if rng.random() < 0.02 else rng.randint(1, 4)


def _file(rng: random.Random, stage: _Stage, *, suffix: str) -> Wire:
    name = rng.choice(_ODD_NAMES if rng.random() < 0.03 else _COMMON_NAMES)
    return {
        "id": f"file_{rng.getrandbits(64):016x}",
        "fileName": f"{name} {rng.randint(1, 40):02}.{suffix}",
        "status": stage.file_status,
    }


def _external_id(rng: random.Random) -> str | None:
    if rng.random() < 0.3:
        return None
    text = f"order-{rng.randint(1000, 9999)}"
    # The documentation allows 180 characters.
    return text.ljust(180, "·") if rng.random() < 0.02 else text


def _result_url(rng: random.Random, job_id: str) -> str:
    return f"https://storage.plangrep.com/results/{job_id}?token={rng.getrandbits(160):040x}"


def _error(rng: random.Random, status: str) -> Wire | None:
    chance = {"failed": 1.0, "completed_with_errors": 0.5}.get(status, 0.0)
    if rng.random() >= chance:
        return None
    code, message = rng.choice(_ERRORS)
    return {"code": code, "message": message}
