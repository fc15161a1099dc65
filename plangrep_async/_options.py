"""What is made of options, and refused where it cannot work: a decoder, a stop, a user agent."""

import sys
from datetime import datetime
from typing import TypeVar

from cattrs import Converter
from cattrs.errors import StructureHandlerNotFoundError

from plangrep_async._elements import Decode, array_decoder
from plangrep_async._version import __version__
from plangrep_async.errors import ConfigurationError
from plangrep_async.models import Job

T = TypeVar("T")


def decoder(converter: Converter, cls: type[T]) -> Decode[T]:
    """Make the decoder of lists of a model that follows the rules of a converter."""
    try:
        return array_decoder(converter, cls)
    except StructureHandlerNotFoundError as error:
        missing = getattr(error.type_, "__name__", "a type")
    raise ConfigurationError(
        f"the converter cannot structure {missing}: start from "
        "plangrep_async.converter.make_converter()"
    )


def oldest_wanted(after_job: str | Job | None, created_after: datetime | None) -> datetime | None:
    """Find the earliest creation time that is still wanted."""
    if not isinstance(after_job, str | Job | None) or after_job == "":
        raise ConfigurationError("after_job must be the id of a job, or a Job")
    if created_after is not None and (
        not isinstance(created_after, datetime) or created_after.utcoffset() is None
    ):
        raise ConfigurationError("created_after must be a datetime with a time zone")
    times = [created_after, after_job.created_at if isinstance(after_job, Job) else None]
    return max((time for time in times if time is not None), default=None)


def user_agent(suffix: str | None) -> str:
    """Say who asks, with what the caller wants to add."""
    # RFC 9110, section 10.1.5.
    agent = f"plangrep_async/{__version__} Python/{sys.version_info[0]}.{sys.version_info[1]}"
    if suffix is None:
        return agent
    if not isinstance(suffix, str) or not (suffix.isascii() and suffix.isprintable() and suffix):
        raise ConfigurationError("user_agent_suffix must be a text of printable ASCII")
    return f"{agent} {suffix}"
