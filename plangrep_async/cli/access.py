"""How a command reaches the API: the options that all such commands share, and their client.

A command that talks to the API takes a parameter `access` and makes its client by
`access.client(...)`. It is registered through `with_access`, which puts the options in the place
of the parameter, so that they stand behind the command's name, where people type them.
"""

import functools
import inspect
import os
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from plangrep_async._credentials import ENVIRONMENT_VARIABLE
from plangrep_async.cli.terminal import complain
from plangrep_async.cli.verbose import with_log
from plangrep_async.client import AsyncPlangrep
from plangrep_async.errors import ConfigurationError

Command = Callable[..., Coroutine[Any, Any, int]]

_MOST_KEY_BYTES = 4096  # a device may have no end
_ENVIRONMENT = """

The environment variable PLANGREP_API_KEY holds the API key, unless a file does.
PLANGREP_BASE_URL, where it is set, says where the API is."""


@attrs.frozen
class Access:
    """What it takes to reach the API, as the command line has it."""

    _api_key: str | None = attrs.field(default=None, repr=False)

    def client(self, **options: Any) -> AsyncPlangrep:
        """Make a client; the options are those of `AsyncPlangrep`."""
        if self._api_key is None and ENVIRONMENT_VARIABLE not in os.environ:
            raise ConfigurationError(
                f"no API key: set {ENVIRONMENT_VARIABLE}, or give --api-key-file FILE"
            )
        return AsyncPlangrep(self._api_key, **options)


def _read_options(
    *,
    api_key_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Read the API key from a file, and not from PLANGREP_API_KEY."
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Log every request to standard error, without secrets."),
    ] = False,
) -> tuple[Access, bool]:
    return Access(None if api_key_file is None else read_key(Path(api_key_file))), verbose


_OPTIONS = inspect.signature(_read_options).parameters


def with_access(command: Command) -> Command:
    """Give a command that takes `access` the options that this is made of, and their help."""
    signature = inspect.signature(command)
    others = [one for one in signature.parameters.values() if one.name != "access"]

    @functools.wraps(command)
    def with_options(**given: Any) -> Coroutine[Any, Any, int]:
        access, verbose = _read_options(**{name: given.pop(name) for name in _OPTIONS})
        work = command(**given, access=access)
        return with_log(work) if verbose else work

    with_options.__doc__ = (inspect.getdoc(command) or "") + _ENVIRONMENT
    parameters = [*others, *_OPTIONS.values()]
    vars(with_options)["__signature__"] = signature.replace(parameters=parameters)
    return with_options


def read_key(file: Path) -> str:
    """Read an API key from a file or a pipe, without the line end that editors leave behind it.

    Raises `ConfigurationError`, which tells neither the content nor the name: that may be the key
    itself, given by mistake.
    """
    problem: str | None = None
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            key = opened.read(_MOST_KEY_BYTES + 1).decode("latin-1")
    except OSError as error:
        problem = f"cannot read the file of --api-key-file: {error.strerror}"
    if problem is not None:  # out here, for the error has the name, and would be the context
        raise ConfigurationError(problem)
    if len(key) > _MOST_KEY_BYTES:
        del key  # a traceback may be shown with its variables
        raise ConfigurationError("the file of --api-key-file is too long for an API key")
    key = key.removesuffix("\n").removesuffix("\r")
    if not key:
        raise ConfigurationError("the file of --api-key-file is empty")
    if os.name == "posix" and stat.S_ISREG(mode) and mode & stat.S_IROTH:
        # No error: secrets are often mounted so in containers.
        complain("everybody on this machine may read the file of --api-key-file: chmod 600 it")
    return key
