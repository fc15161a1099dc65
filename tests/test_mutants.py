"""The mutants: each is still to be made, and a test that should notice one does."""

import shutil
from pathlib import Path

import pytest

from tests.cures import MUTANTS, Mutant
from tests.matrix import EXCEPTIONS, ROWS
from tests.mutants import PACKAGE, mutate, red_tests

TEST = "tests/test_jsonarray.py::test_an_element_without_end_is_too_large"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.cure)
def test_each_cure_can_be_switched_off(mutant: Mutant, tmp_path: Path) -> None:
    """Its text stands once in the package, and its rows are in the matrix, with tests."""
    package = tmp_path / "package"
    shutil.copytree(PACKAGE, package)
    before = (package / mutant.file).read_text()
    mutate(mutant, package)
    after = (package / mutant.file).read_text()
    assert after != before
    compile(after, mutant.file, "exec")
    assert set(mutant.rows.split()) <= set(ROWS) - set(EXCEPTIONS)


def test_a_cure_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """A mutant that changes nothing would prove nothing."""
    (tmp_path / "_retry.py").write_text("pass\n")
    with pytest.raises(LookupError, match="a made-up cure"):
        mutate(Mutant("a made-up cure", "B1", "_retry.py", "fail", "pass"), tmp_path)


@pytest.mark.slow
def test_a_mutant_is_noticed_and_a_harmless_one_is_not() -> None:
    """The names of the tests that fail come back, and none where none does."""
    limit = next(mutant for mutant in MUTANTS if mutant.cure == "a limit for one element")
    assert red_tests(limit, [TEST]) == [TEST]
    assert red_tests(limit._replace(instead=f"{limit.text}  # the same"), [TEST]) == []
