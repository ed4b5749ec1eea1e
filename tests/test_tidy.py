"""What the map says of the house holds: imports point one way, every route and every error is known, nobody sleeps."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
BBS = REPOSITORY / "bbs"

ARROWS = {
    "models": set(),
    "lifecycle": {"models"},
    "store": {"models", "log"},
    "sync": {"models", "peers", "log", "tls", "grpc_tls"},
    "peers": {"models", "log", "tls", "grpc_tls", "http_reasons"},
    "convergence": {"lifecycle", "models", "store", "sync", "peers", "log"},
    "routes": {"lifecycle", "models", "store", "sync", "peers", "convergence", "log", "http_reasons"},
    "metrics": {"models", "log", "tls", "grpc_tls", "convergence", "store", "routes", "peers", "sync"},
    "client": {"models", "tls"},
}


def modules(package: str) -> list[Path]:
    return [path for path in (BBS / package).rglob("*.py") if "_pb2" not in path.name]


def imported_packages(package: str) -> set[str]:
    found = set()
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = (
                    [f"bbs.{alias.name}" for alias in node.names] if node.module == "bbs" else [node.module]
                )
            found |= {name.split(".")[1] for name in names if name.startswith("bbs.")}
    return found - {package}


@pytest.mark.parametrize("package", ARROWS)
def test_imports_point_one_way(package: str) -> None:
    assert imported_packages(package) <= ARROWS[package]


@pytest.mark.parametrize("library", ["trio", "asyncio", "time", "asyncpg", "quart"])
def test_lifecycle_has_no_io_and_no_clock(library: str) -> None:
    for path in modules("lifecycle"):
        imports = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module}
        assert not {name for name in names if name.split(".")[0] == library}, path


def test_no_test_sleeps_on_the_real_clock() -> None:
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        assert "time.sleep(" not in path.read_text() or path == Path(__file__), path


def test_no_module_holds_a_second_idea() -> None:
    long = {
        path.name: n
        for path in BBS.rglob("*.py")
        if "_pb2" not in path.name and (n := len(path.read_text().splitlines())) > 500
    }
    assert not long
