from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perf import beds
from tests.made_once import copied_certs, copy_cluster
from tests.scratch import scratch_directory


@pytest.fixture(scope="session", autouse=True)
def homes_are_copies() -> Iterator[None]:
    """The servers of the harness find certificates and an empty database, which saves each of them three seconds of computing.
    Those that are started by a ``python -m perf`` of its own make them.
    """

    @contextmanager
    def copied_home() -> Iterator[Path]:
        with scratch_directory("bbs-perf-") as home:
            copied_certs(home / "certs")
            copy_cluster(home / "data")
            yield home

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beds, "fresh_home", copied_home)
        yield
