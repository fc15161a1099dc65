"""How long to wait for the network."""

import attrs

from plangrep_async._checks import check_seconds


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long to wait for the network, in seconds. Nothing limits a whole stream."""

    connect: float = 10.0
    """Name look-up, TCP and TLS together."""
    read: float = 60.0
    """The whole wait for the headers; from then on any stretch of waiting in which less than
    1 KiB arrives. Time that the consumer takes does not count."""

    def __attrs_post_init__(self) -> None:
        check_seconds("Timeouts.connect", self.connect, above_zero=True)
        check_seconds("Timeouts.read", self.read, above_zero=True)
