"""The states of a job, the same for every contender whose models take an enumeration."""

from enum import StrEnum


class JobStatus(StrEnum):
    PROVISIONING = "provisioning"
    AWAITING_UPLOADS = "awaiting_uploads"
    UPLOADING = "uploading"
    PREFLIGHTING = "preflighting"
    BLOCKED_INSUFFICIENT_CREDITS = "blocked_insufficient_credits"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
