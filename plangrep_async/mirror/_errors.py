"""What can go wrong with the file, once it is known to be a mirror."""


class MirrorError(OSError):
    """Raised when the database cannot be read or written: full, locked for long, damaged.

    What was stored before stays, and the next run goes on from there. A file that is no mirror, or
    is one of a newer version, is a `ConfigurationError` instead, and is left as it is.
    """
