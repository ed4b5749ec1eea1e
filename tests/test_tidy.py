"""What can be read off the code: which room may import which, what is pure, who gives each refusal, and who sleeps."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bbs.models.errors import BBSError

REPOSITORY = Path(__file__).parent.parent
BBS = REPOSITORY / "bbs"

ARROWS: dict[str, set[str]] = {
    # The ground: rooms that know no other.
    "concurrency": set(),
    "log": set(),
    "models": set(),
    # What is pure, and what is outside: the database, the ports, the certificates.
    "embedded_postgres": {"log"},
    "http": {"concurrency"},
    "lifecycle": {"models"},
    "ports": {"http", "log"},
    "store": {"concurrency", "log", "models"},
    "tls": {"log"},
    "words": {"lifecycle", "models"},
    "client": {"models", "tls"},
    # Whom we call, and what is carried out.
    "peers": {"concurrency", "http", "log", "models", "tls"},
    "acts": {"lifecycle", "log", "models", "peers", "store"},
    "config": {"log", "ports", "store", "tls"},
    "sync": {"concurrency", "log", "models", "peers", "tls"},
    "cfdot": {"client", "config", "log", "models", "sync", "tls", "words"},
    "console": {"cfdot", "client", "models", "sync", "tls", "words"},
    "shadow": {"client", "concurrency", "log", "models"},
    "demo": {"client", "models", "sync"},
    # What acts: requests, and passes.
    "convergence": {"acts", "concurrency", "lifecycle", "log", "models", "peers", "store"},
    "doctor": {
        "client", "concurrency", "config", "convergence", "lifecycle", "log", "models", "ports", "store", "sync", "tls",
    },
    "routes": {"acts", "concurrency", "http", "lifecycle", "log", "models", "peers", "store", "sync"},
    # The whole, what it tells of itself, and what runs it.
    "service": {"acts", "convergence", "lifecycle", "log", "models", "peers", "routes", "store", "sync"},
    "testing": {"client", "demo", "http", "log", "models", "peers", "routes", "service", "store", "sync"},
    "metrics": {
        "acts", "concurrency", "convergence", "http", "log", "models", "peers", "routes", "store", "sync", "tls",
    },
    "dashboard": {
        "concurrency", "convergence", "http", "lifecycle", "log", "metrics", "models", "peers", "store", "sync", "words",
    },
    "process": {
        "acts", "concurrency", "convergence", "dashboard", "http", "lifecycle", "log", "metrics", "models", "peers", "ports",
        "routes", "service", "store", "sync",
    },
    "commands": {
        "cfdot", "client", "concurrency", "config", "console", "demo", "doctor", "embedded_postgres", "http", "lifecycle", "log",
        "metrics", "models", "peers", "ports", "process", "routes", "shadow", "store", "sync", "tls",
    },
    "__main__": {"commands"},
}  # fmt: skip
"""Room by room, floor by floor: each may import only rooms that stand above it here, and those it names."""


def room_of(path: Path) -> str:
    return path.relative_to(BBS).parts[0].removesuffix(".py")


def modules() -> Iterator[Path]:
    return (path for path in BBS.rglob("*.py") if "_pb2" not in path.name and path != BBS / "__init__.py")


def imports(path: Path) -> Iterator[str]:
    """The full names of all that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(room: str) -> set[str]:
    found = {
        name.split(".")[1]
        for path in modules()
        if room_of(path) == room
        for name in imports(path)
        if name.startswith("bbs.") and not name.startswith("bbs.__version__")
    }
    return found - {room}


def test_every_room_is_on_the_map() -> None:
    assert {room_of(path) for path in modules()} == set(ARROWS)


def test_no_arrow_points_back() -> None:
    rooms = list(ARROWS)
    for number, room in enumerate(rooms):
        assert ARROWS[room] <= set(rooms[:number]), room


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_just_what_the_map_says(room: str) -> None:
    assert rooms_imported(room) == ARROWS[room]


@pytest.mark.parametrize("library", ["trio", "asyncio", "time", "asyncpg", "quart"])
@pytest.mark.parametrize("room", ["lifecycle", "models"])
def test_what_is_pure_has_no_io_and_no_clock(room: str, library: str) -> None:
    for path in modules():
        if room_of(path) == room:
            assert library not in {name.split(".")[0] for name in imports(path)}, path


READ_ONLY: dict[str, str] = {
    "InvalidRecord": "a record that cannot be encoded is a bug here, and ends its request as one",
    "InvalidJSON": "upstream's server has no use for it either",
    "FailedToOpenEnvelope": "upstream's server has no use for it either",
    "ResourceConflict": "two rows in one place cannot be: the table's key forbids it",
    "ActualLRPCannotBeRemoved": "upstream answers it to nobody: an evacuation that meets it goes on without",
    "ActualLRPCannotBeUnclaimed": "upstream answers it to nobody: an evacuation that meets it keeps the container",
    "GUIDGeneration": "Python's random source does not fail",
    "Deadlock": "one connection writes, so it waits for nobody",
    "LockCollision": "upstream's server has no use for it either",
}
"""Refusals that the client may be answered with by another server, and why this one has none of them to give."""


def raised_in_bbs() -> set[str]:
    """The names of all that is made by a call or raised as it is: ``X(...)``, ``X.between(...)``, ``raise X``."""
    found = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            made = (
                node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
            )
            if isinstance(made, ast.Attribute):
                made = made.value
            if isinstance(made, ast.Name):
                found.add(made.id)
    return found


def test_every_refusal_is_given_by_somebody_or_has_a_reason_not_to_be() -> None:
    """That each has its type on the wire, and upstream's text, is in tests/models/test_errors.py."""
    refusals = {cls.__name__ for cls in BBSError.__subclasses__()}
    assert refusals - raised_in_bbs() == set(READ_ONLY)


TESTS = REPOSITORY / "tests"
CLOCKED = {"autojump_clock", "mock_clock", "MockClock"}
"""Fixtures, and the class, of a clock on which sleeping takes no time."""

SLEEPS: dict[str, str] = {
    "waiting": "the one place: whoever has to wait for what has no event asks it to",
    "breakable_postgres": "the pauses are those that the start and stop of a Postgres ask their caller for",
    "cell_process": "a process that renews a presence as a cell does, at its period",
    "embedded_postgres.test_embedded_postgres.test_a_restart_that_is_cancelled_leaves_no_process": (
        "the pauses are those that the restart itself asks its caller for"
    ),
    "faulty_peers": "takes the time that a fault is said to take, on the clock of the tests that use it",
    "peers.scripted_network": "takes the time it is told to, on the clock of the tests that use it",
    "simulation": "the whole fleet lives on the clock of simulation.determinism",
}
"""Modules and functions of tests that sleep without a mock clock of their own, and why that is right."""


def is_sleep(node: ast.AST) -> bool:
    """``sleep(s)`` and ``sleep_until(t)`` of trio, time or asyncio, but for ``sleep(0)``; also in the text of a program."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr="sleep" | "sleep_until") | ast.Name(id="sleep" | "sleep_until")
        ):
            return not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
        case ast.Constant(value=str(text)):
            return "import" in text and re.search(r"\bsleep(_until)?\(", text) is not None
    return False


def names_in(node: ast.AST) -> set[str]:
    """What is named in it: variables, attributes, parameters."""
    return {
        each.id if isinstance(each, ast.Name) else each.attr if isinstance(each, ast.Attribute) else each.arg
        for each in ast.walk(node)
        if isinstance(each, (ast.Name, ast.Attribute, ast.arg))
    }


def sleepers() -> Iterator[str]:
    """Each function at the top of a module of tests that sleeps, but for tests that have a mock clock, and for what is in a
    module with them: that may be a part of such tests.
    """
    for path in sorted(TESTS.rglob("*.py")):
        module = ".".join(path.relative_to(TESTS).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        is_module_clocked = bool(CLOCKED & names_in(tree))
        for node in tree.body:
            if any(map(is_sleep, ast.walk(node))):
                name = getattr(node, "name", "")
                is_clocked = CLOCKED & names_in(node) if name.startswith("test_") else is_module_clocked
                if not is_clocked:
                    yield f"{module}.{name}"


def excuse(sleeper: str) -> str | None:
    """The entry of `SLEEPS` that it falls under."""
    return next((each for each in SLEEPS if sleeper == each or sleeper.startswith(f"{each}.")), None)


def test_nobody_sleeps_on_the_real_clock() -> None:
    found = list(sleepers())

    assert [sleeper for sleeper in found if excuse(sleeper) is None] == []
    assert {excuse(sleeper) for sleeper in found} == set(SLEEPS), "no excuse without somebody who needs it"
