"""What ARCHITECTURE.md says of the rooms holds: which room may import which, and that the pure ones are pure."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    "client": {"models", "tls"},
    # Whom we call, and what is carried out.
    "peers": {"concurrency", "http", "log", "models", "tls"},
    "acts": {"lifecycle", "log", "models", "peers", "store"},
    "config": {"http", "lifecycle", "log", "peers", "ports", "store", "tls"},
    "sync": {"concurrency", "log", "models", "peers", "tls"},
    # What acts: requests, and passes.
    "convergence": {"acts", "concurrency", "lifecycle", "log", "models", "peers", "store"},
    "routes": {"acts", "concurrency", "http", "lifecycle", "log", "models", "peers", "store", "sync"},
    # The whole, what it tells of itself, and what runs it.
    "metrics": {
        "acts", "concurrency", "convergence", "http", "log", "models", "peers", "routes", "store", "sync", "tls",
    },
    "process": {
        "acts", "concurrency", "config", "convergence", "http", "lifecycle", "log", "metrics", "models", "peers",
        "ports", "routes", "store", "sync",
    },
    "commands": {
        "concurrency", "config", "embedded_postgres", "http", "lifecycle", "log", "metrics", "models", "peers",
        "ports", "process", "routes", "store", "sync", "tls",
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


def test_no_test_sleeps_on_the_real_clock() -> None:
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        assert "time.sleep(" not in path.read_text() or path == Path(__file__), path
