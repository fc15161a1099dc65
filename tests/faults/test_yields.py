"""No `yield` of the package stands where it could hold up, or swallow, a cancellation (PEP 789).

What encloses a `yield` is open while the consumer does what it likes: a time-out or task group
there would cancel the consumer, and a clause there that catches cancellation would eat its own.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import plangrep_async

SOURCES = sorted(Path(plangrep_async.__file__).parent.rglob("*.py"))
CATCHES_CANCELLATION = {"BaseException", "CancelledError", "GeneratorExit"}
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def bad_yields(source: str) -> list[str]:
    """Name each line with a `yield`, and the line of what encloses it wrongly."""
    return [
        f"line {inner.lineno}: yield inside {fault}"
        for outer in ast.walk(ast.parse(source))
        for body, fault in _dangers(outer)
        for inner in _yields(body)
    ]


def _dangers(node: ast.AST) -> Iterator[tuple[list[ast.stmt], str]]:
    # Every `async with`, for what it enters may well be a time-out by another name.
    if isinstance(node, ast.AsyncWith):
        yield node.body, f"`async with` of line {node.lineno}"
    elif isinstance(node, ast.With) and "suppress" in ast.unparse(node.items[0].context_expr):
        yield node.body, f"`suppress` of line {node.lineno}"
    elif isinstance(node, ast.Try | ast.TryStar):
        for handler in node.handlers:
            if _catches_cancellation(handler) and not _ends_in_raise(handler.body):
                yield node.body, f"`try` whose `except` of line {handler.lineno} swallows"
        leaving = (ast.Return, ast.Break, ast.Continue)
        if any(isinstance(step, leaving) for step in _own(node.finalbody)):
            everything = [*node.body, *node.orelse]
            yield everything, f"`try` of line {node.lineno} whose `finally` swallows"


def _catches_cancellation(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.attr for node in ast.walk(handler.type) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & CATCHES_CANCELLATION)


def _ends_in_raise(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], ast.Raise) and body[-1].exc is None


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Walk statements without the functions and classes defined among them."""
    for node in body:
        yield from _walk(node)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _walk(child)


def _yields(body: list[ast.stmt]) -> Iterator[ast.Yield | ast.YieldFrom]:
    for node in _own(body):
        if isinstance(node, ast.Yield | ast.YieldFrom):
            yield node


@pytest.mark.fault("L5")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_yield_stands_where_cancellation_would_be_lost(path: Path) -> None:
    """Neither a time-out, nor a task group, nor a clause that swallows encloses a `yield`."""
    assert bad_yields(path.read_text()) == []


@pytest.mark.fault("L5")
def test_the_package_has_yields_to_look_at() -> None:
    """The walk finds the `yield` of the stream of jobs, so it would find a bad one."""
    source = (Path(plangrep_async.__file__).parent / "_jobs.py").read_text()
    assert [node for node in _own(ast.parse(source).body) if isinstance(node, ast.Yield)] == []
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.AsyncFunctionDef)]
    assert [node.name for node in functions if list(_yields(node.body))] == ["list_jobs"]


@pytest.mark.fault("L5")
@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("async with asyncio.timeout(1):\n  yield 1", "async with"),
        ("async with asyncio.timeout(1):\n  for x in y:\n   if x:\n    z = yield x", "async with"),
        ("async with aclosing(x) as y, asyncio.TaskGroup():\n  yield 1", "async with"),
        ("try:\n  yield 1\n except:\n  pass", "except"),
        ("try:\n  yield 1\n except BaseException as error:\n  log(error)", "except"),
        ("try:\n  yield 1\n except (OSError, asyncio.CancelledError):\n  return", "except"),
        ("try:\n  yield 1\n except CancelledError:\n  raise OSError from None", "except"),
        ("try:\n  yield 1\n finally:\n  return", "finally"),
        ("for x in y:\n  try:\n   yield 1\n  finally:\n   continue", "finally"),
        ("with contextlib.suppress(BaseException):\n  yield 1", "suppress"),
    ],
)
def test_a_bad_yield_is_seen(source: str, fault: str) -> None:
    """The walk is able to fail: on each of the forms, in whatever it is wrapped."""
    (found,) = bad_yields(f"async def f():\n {source}")
    assert fault in found


@pytest.mark.fault("L5")
@pytest.mark.parametrize(
    "source",
    [
        "try:\n  yield 1\n finally:\n  close()",
        "try:\n  yield 1\n except OSError:\n  pass",
        "try:\n  yield 1\n except BaseException:\n  close()\n  raise",
        "async with asyncio.timeout(1):\n  def g():\n   yield 1",
        "async with asyncio.timeout(1):\n  x = await y\n yield x",
    ],
)
def test_a_good_yield_is_let_through(source: str) -> None:
    """Cleaning up, catching what is no cancellation, and raising it again are all right."""
    assert bad_yields(f"async def f():\n {source}") == []
