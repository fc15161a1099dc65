"""The peers themselves: what a test sees of a program that is missing, or does not run."""

from pathlib import Path

import pytest

from tests.faults.streams import nothing_left
from tests.nginx import Nginx
from tests.peers import require


@pytest.mark.parametrize("is_needed", [False, True])
def test_a_program_that_is_missing_skips_or_fails(
    monkeypatch: pytest.MonkeyPatch, is_needed: bool
) -> None:
    """On one's own machine a peer may be missing; where `PLANGREP_TESTS_NEED_PEERS` is set, not."""
    monkeypatch.setenv("PLANGREP_TESTS_NEED_PEERS", "1" if is_needed else "")
    outcome = pytest.fail.Exception if is_needed else pytest.skip.Exception
    with pytest.raises(outcome, match="no-such-program is not installed"):
        require("no-such-program")


async def test_an_nginx_that_does_not_begin_is_an_error(tmp_path: Path) -> None:
    """The test fails with what nginx said."""
    nginx = Nginx(tmp_path, "no_such_directive;")
    async with nothing_left():
        with pytest.raises(AssertionError, match='unknown directive "no_such_directive"'):
            await nginx.__aenter__()


async def test_an_nginx_that_dies_is_an_error(tmp_path: Path) -> None:
    """It may not go unseen, even when no request was lost to it."""
    with pytest.raises(AssertionError, match="nginx ended with -9"):
        async with nothing_left(), Nginx(tmp_path, "return 204;") as nginx:
            await nginx._kill()
