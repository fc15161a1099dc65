"""Programs of other people's that tests talk to."""

import os
import shutil

import pytest


def require(program: str) -> str:
    """Give the path of a program, or skip the test that cannot do without it.

    Where `PLANGREP_TESTS_NEED_PEERS` is set the test fails instead: there all of them must run.
    """
    # Debian keeps servers out of the PATH of ordinary users.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(program, path=path)
    if found is not None:
        return found
    reason = f"{program} is not installed"
    if os.environ.get("PLANGREP_TESTS_NEED_PEERS"):
        pytest.fail(reason)
    pytest.skip(reason)
