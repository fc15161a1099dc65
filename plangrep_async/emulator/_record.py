"""What the emulator remembers of a request."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestRecord:
    """One request as the server saw it; it goes on changing while the answer is being sent.

    `arrived` and `project_id` take no part in comparisons: a test that writes down the records it
    expects knows no times, and has the project in the path.
    """

    method: str
    path: str
    """As it came, query included."""
    request_id: str
    """What the answer has as `X-Request-Id`."""
    status: int
    body_bytes_sent: int = 0
    """Bytes of the answer's body that were given away, framing not counted.

    The buffers on the way take in more than the client has read: on loopback less than 1 MiB,
    unless the client makes its own larger.
    """
    complete: bool = False
    """Whether the answer was given away to its end; false when the client left before that, or a
    `Fault` kept the end back."""
    ended: bool = False
    """Whether nothing here changes any more."""
    arrived: float = field(default=0.0, compare=False)
    """When its headers were there, in seconds of `time.monotonic()`."""
    project_id: str | None = field(default=None, compare=False)
    """The project that the path names, whether there is one or not."""
