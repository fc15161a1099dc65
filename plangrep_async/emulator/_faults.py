"""What goes wrong on request: `Fault`, and how a list of them is used up."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ._demand import demand


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How the answer to a request for a project's jobs differs from a healthy one.

    One that says nothing lets a request through unharmed, so that a later one fails. A body that is
    shorter than the place of a cut or stall is sent whole, but the end that HTTP marks is not.
    Raises `ValueError` for a value out of range.
    """

    status: int | None = None
    """The answer's status, from 200 to 599; its body is the API's error instead of the jobs."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers, or other values for those there are."""
    cut_after_bytes: int | None = None
    """Close the connection after so many bytes of the body; all of them reach who reads on."""
    stall_after_bytes: int | None = None
    """After so many bytes of the body send nothing more, until the client leaves."""
    times: int | None = 1
    """How many requests get it, one after the other; `None`: all from now on."""

    def __post_init__(self) -> None:
        if self.status is not None:
            demand("status", self.status, at_least=200, at_most=599)
        if self.cut_after_bytes is not None:
            demand("cut_after_bytes", self.cut_after_bytes, at_least=0)
        if self.stall_after_bytes is not None:
            demand("stall_after_bytes", self.stall_after_bytes, at_least=0)
        if None not in {self.cut_after_bytes, self.stall_after_bytes}:
            raise ValueError("cut_after_bytes and stall_after_bytes exclude each other")
        if self.times is not None:
            demand("times", self.times, at_least=1)


HEALTHY = Fault(times=None)


def take(script: list[Fault]) -> Fault:
    """Return what the next request gets, and leave in the list what those after it will get.

    What remains of a fault is a fault, with fewer `times`: the list is all the state there is.
    """
    if not script:
        return HEALTHY
    fault = script[0]
    if fault.times == 1:
        del script[0]
    elif fault.times is not None:
        script[0] = replace(fault, times=fault.times - 1)
    return fault
