"""Usage errors: what typer calls them, and how they are told."""

import typer

# No public name of typer, and its home differs from version to version.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def usage_problem(error: Exception, program: str) -> str:
    """Say in one line what is wrong, and which help to read."""
    text = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]  # typer's
    context = getattr(error, "ctx", None)
    command = context.command_path if context else program
    return f"{text if text.endswith(('.', '?')) else f'{text}.'} See: {command} --help"
