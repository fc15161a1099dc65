"""The command `plangrep-async`, also as `python -m plangrep_async`."""

import sys
from collections.abc import Sequence

_EXTRA = {"typer", "click", "rich"}  # what the extra `cli` installs; older typers need click


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, without the program's name; gives the exit code."""
    try:
        # Here and not above: it needs the extra, and Ctrl-C may come before it is loaded.
        from plangrep_async.cli.app import run  # noqa: PLC0415

        return run(sys.argv[1:] if argv is None else argv)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            "plangrep-async: the command line needs more packages: "
            'pip install "plangrep-async[cli]"\n'
        )
        return 2
    except KeyboardInterrupt:
        return 130  # 128 and SIGINT, as shells have it


if __name__ == "__main__":
    sys.exit(main())
