"""A plugin that runs the tests on uvloop: `python -m pytest -p tests.on_uvloop`."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Make the loops of all tests."""
    return {"uvloop": uvloop.new_event_loop}
