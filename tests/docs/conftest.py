"""Fixtures for tests of pages."""

from collections.abc import Iterator

import pytest

from tests.docs.stages import Stages, open_stages


@pytest.fixture(scope="session")
def stages() -> Iterator[Stages]:
    with open_stages() as stages:
        yield stages


@pytest.fixture
def write_output(request: pytest.FixtureRequest) -> bool:
    write: bool = request.config.getoption("--write-output")
    return write
