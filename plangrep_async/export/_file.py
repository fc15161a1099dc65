"""A file that is there as a whole, or not at all.

It is written beside its place under another name, and takes the place when it is complete
(`rename` of POSIX: whoever opens the place finds the old file or the new one).
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LONGEST_PREFIX = 50  # characters: file systems allow 255 bytes for a name
_OPEN_FILE = re.compile(r"/dev/(fd/|stdin$|stdout$|stderr$)|/proc/[^/]+/fd/")


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for bytes that takes its place only when the block ends without an exception.

    Until then the place is left as it is, and the bytes go to `.NAME.….tmp` beside it, which an
    exception removes, and a killed process leaves behind. A link keeps leading to its file. A file
    that is replaced passes its permissions on, and its owner where the system allows it. What is no
    regular file (a pipe, a terminal, `/dev/stdout`) is written to as it is, at its end. Raises
    `OSError` at the beginning where the place cannot be written to.
    """
    place = Path(path)
    if not is_replaceable(place):
        with place.open("ab") as open_end:
            yield open_end
        return
    place = place.resolve()
    temporary, file = _create_beside(place)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or the name could survive a crash, and the bytes not
        temporary.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def is_replaceable(place: Path) -> bool:
    """Whether there is a regular file, or nothing, which another file can replace.

    Raises `IsADirectoryError` where there is a directory.
    """
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(mode):
        raise _error(errno.EISDIR, place)
    return stat.S_ISREG(mode) and not _is_open_file(place)


def _is_open_file(place: Path) -> bool:
    """Whether it leads, as `/dev/stdout` does, to a file that a process has open already."""
    place = place.absolute()
    while not _OPEN_FILE.match(str(place)):
        if not place.is_symlink():
            return False
        place = place.parent / place.readlink()
    return True


def _create_beside(place: Path) -> tuple[Path, BinaryIO]:
    """Create a file that no other process knows, as open to others as the one to replace."""
    before = place.stat() if place.exists() else None
    if before is not None and not os.access(place, os.W_OK):
        raise _error(errno.EACCES, place)
    name = f".{place.name[:_LONGEST_PREFIX]}.{secrets.token_hex(4)}.tmp"
    temporary = place.with_name(name)
    mode = 0o666 if before is None else 0o600  # less what the umask takes
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise _error(error.errno or 0, place) from None
    if before is not None:
        with contextlib.suppress(OSError, AttributeError):  # there are no owners on Windows
            os.chown(temporary, before.st_uid, before.st_gid)
        with contextlib.suppress(OSError):
            temporary.chmod(stat.S_IMODE(before.st_mode))
    return temporary, os.fdopen(descriptor, "wb")


def _error(number: int, place: Path) -> OSError:
    return OSError(number, os.strerror(number), str(place))
