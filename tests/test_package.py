"""The package as a whole: its layers, its public names, its tree of errors, what it imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path

import pytest

import plangrep_async
from plangrep_async import PlangrepError, errors

Tree = dict[str, "Tree"]

PACKAGE = Path(plangrep_async.__file__).parent

LEVELS = {
    # A module imports from lower levels only; folders count as one module.
    "_version": 0,
    "models": 0,
    "errors": 0,
    "_batch": 0,
    "_boundaries": 0,
    "_jsontext": 0,
    "_pace": 0,
    "_interrupt": 0,
    "emulator": 0,
    "billing": 1,
    "_checks": 1,
    "_mirror": 1,
    "_ids": 1,
    "_limiter": 1,
    "_progress": 1,
    "_resume": 1,
    "_credentials": 1,
    "_endpoint": 1,
    "_status": 1,
    "_jsonhead": 1,
    "_jsonobject": 1,
    "_retry": 2,
    "converter": 2,
    "_handover": 2,
    "_jsonarray": 2,
    "_transport": 3,
    "_elements": 3,
    "export": 3,
    "_polling": 3,
    "service": 3,
    "_query": 3,
    "_answer": 4,
    "_lifetime": 4,
    "_options": 4,
    "_stream": 5,
    "_singleflight": 5,
    "_documents": 5,
    "_jobs": 6,
    "_bulk": 7,
    "_readers": 8,
    "client": 9,
    "dask": 10,
    "mirror": 10,
    "__init__": 10,
    "cli": 11,
    "pytest_plugin": 11,
    "__main__": 12,
}
FILES = sorted(PACKAGE.rglob("*.py"))

MODELS = {
    "Job",
    "JobBilling",
    "JobError",
    "JobFile",
    "JobLimits",
    "JobStatus",
    "Project",
    "ProjectRuntime",
}


def unit(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def run_time_imports(file: Path) -> Iterator[str]:
    """Give the full names of the modules that a file imports when it is run."""
    tree = ast.parse(file.read_text())
    for_types = [
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    ]
    package = ["plangrep_async", *file.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*above, *filter(None, [node.module])])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_downwards_only(file: Path) -> None:
    """A module imports from lower levels or its own folder, and never the package root."""
    for name in run_time_imports(file):
        if name.split(".")[0] != "plangrep_async":
            continue
        assert name != "plangrep_async", f"{file.name} imports the package root"
        imported = name.split(".")[1]
        is_own_folder = imported == unit(file) and file.parent != PACKAGE
        assert is_own_folder or LEVELS[imported] < LEVELS[unit(file)], name


def test_every_module_has_a_level() -> None:
    """The table of levels names what there is, and nothing else."""
    assert {unit(file) for file in FILES} == set(LEVELS)


@pytest.mark.parametrize("library", ["aiohttp", "backoff", "yarl"])
def test_only_the_transport_knows_the_http_library(library: str) -> None:
    """Of the client's side, one folder uses aiohttp and backoff; the emulator is a server."""
    users = {
        unit(file)
        for file in FILES
        if any(name.split(".")[0] == library for name in run_time_imports(file))
    }
    assert users - {"emulator"} == {"_transport"}


def test_the_emulator_is_independent() -> None:
    """The oracle of the tests shares no code with what it tests."""
    for file in (PACKAGE / "emulator").glob("*.py"):
        ours = [n for n in run_time_imports(file) if n.startswith("plangrep_async")]
        assert all(name.startswith("plangrep_async.emulator") for name in ours)


def test_the_root_exports_the_public_names_and_nothing_else() -> None:
    """`__all__` is sorted and complete: the client, what it gives, its options, the errors."""
    tree_names = {name for name in vars(errors) if is_error(getattr(errors, name))}
    bulk = {"JobStream", "ProjectOutcome"}
    options = {"RetryPolicy", "Timeouts", "__version__"}
    expected = {"AsyncPlangrep", *bulk, *options, *MODELS, *tree_names}
    assert plangrep_async.__all__ == sorted(expected)
    assert all(hasattr(plangrep_async, name) for name in expected)


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, PlangrepError)


def test_the_errors_are_one_tree() -> None:
    """The classes hang together exactly as the top of `errors.py` draws them."""

    def subtree(cls: type) -> Tree:
        return {sub.__name__: subtree(sub) for sub in cls.__subclasses__()}

    root, *branches = (errors.__doc__ or "").split("\n\n")[1].splitlines()
    assert root == "PlangrepError"
    assert read_drawing(branches) == subtree(PlangrepError)


def read_drawing(lines: list[str]) -> Tree:
    """Read the branches of a tree: each one but the last is ├── and has │ beside what is below."""
    tree: Tree = {}
    while lines:
        branch, name = lines[0][:4], lines[0][4:].split()[0]
        beside = "│   " if branch == "├── " else "    "
        below = list(takewhile(lambda line: line.startswith(beside), lines[1:]))  # noqa: B023  # called at once
        assert name not in tree, f"{name} is drawn twice"
        tree[name] = read_drawing([line[4:] for line in below])
        lines = lines[1 + len(below) :]
        assert branch == ("├── " if lines else "└── "), name
    return tree


def test_the_version_is_one() -> None:
    """The package says the version that was installed."""
    assert plangrep_async.__version__ == version("plangrep-async")


def loaded_by(statement: str) -> set[str]:
    """Name the modules that are loaded after a statement in a process of its own."""
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(done.stdout.decode().split())


def test_the_library_does_not_import_its_extras() -> None:
    """Importing the client loads nothing of the command line, the emulator or the tests."""
    loaded = loaded_by("from plangrep_async import AsyncPlangrep")
    assert "plangrep_async.client" in loaded
    unwanted = {"typer", "rich", "click", "pytest", "aiohttp.web"}
    unwanted |= {"dask", "distributed", "pandas", "pyarrow"}
    unwanted |= {f"plangrep_async.{name}" for name in ("dask", "emulator", "export")}
    assert loaded & unwanted <= {"aiohttp.web"} & loaded_by("import aiohttp")
    assert "plangrep_async.cli" not in loaded


def test_the_package_alone_loads_no_library() -> None:
    """Nothing is loaded before a name is asked for: pytest imports the package in every run."""
    for statement in ("import plangrep_async", "import plangrep_async; dir(plangrep_async)"):
        loaded = loaded_by(statement)
        ours = {name for name in loaded if name.startswith("plangrep_async")}
        assert ours == {"plangrep_async", "plangrep_async._version"}
        assert not loaded & {"aiohttp", "asyncio", "attrs", "cattrs", "msgspec"}


@pytest.mark.parametrize("module", ["converter", "errors", "models"])
def test_the_public_modules_come_with_the_package(module: str) -> None:
    """Who has imported the package reaches them as its attributes."""
    assert f"plangrep_async.{module}" in loaded_by(f"import plangrep_async as p; p.{module}")


def test_a_name_that_is_not_there_is_said_to_be_missing() -> None:
    """Only public names are looked for, and a wrong one fails as with any module."""
    assert set(plangrep_async.__all__) <= set(dir(plangrep_async))
    for name in ("Jobs", "MappingProxyType"):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(plangrep_async, name)


def test_the_package_is_typed() -> None:
    """The marker of PEP 561 is installed with the package."""
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_file_says_what_it_is_for_and_stays_short(file: Path) -> None:
    """Each file opens with a docstring and can be understood in one sitting."""
    text = file.read_text()
    assert ast.get_docstring(ast.parse(text)), "a docstring at the top"
    assert text.count("\n") <= 270
