"""Certificates follow their files, and survive what can't be used (spec: security.md §2; here they are read again)."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from bbs.tls.contexts import TLSFiles, TLSFilesInvalid
from bbs.tls.development import DevelopmentCerts
from bbs.tls.reloading import (
    LOOK_INTERVAL_S,
    Certificate,
    Certificates,
    client_certificate,
    server_certificate,
)
from tests.console.authority import DAY, Authority, Pair
from tests.log_lines import Lines
from tests.made_once import copied_certs


@pytest.fixture
def certs(tmp_path: Path) -> DevelopmentCerts:
    return copied_certs(tmp_path / "certs")


@pytest.fixture
def files(certs: DevelopmentCerts) -> TLSFiles:
    return TLSFiles(ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key)


def replace_with_others(certs: DevelopmentCerts, tmp_path: Path) -> None:
    others = copied_certs(tmp_path / "others", of="strangers")
    for ours, theirs in zip(certs.paths(), others.paths(), strict=True):
        ours.write_bytes(theirs.read_bytes())


@pytest.mark.parametrize("make", [server_certificate, client_certificate])
def test_a_reload_makes_a_new_context(make: Callable[[TLSFiles], Certificate], files: TLSFiles) -> None:
    certificate = make(files)
    before = certificate.context()

    certificate.reload()

    assert certificate.context() is not before


async def test_changed_files_are_noticed_once(
    certs: DevelopmentCerts, files: TLSFiles, tmp_path: Path, autojump_clock: MockClock
) -> None:
    certificate, lines = server_certificate(files), Lines()
    before = certificate.context()
    certificates = Certificates([certificate], log=lines.logger())
    with trio.move_on_after(1.5 * LOOK_INTERVAL_S):
        await certificates.watch()
    assert certificate.context() is before

    replace_with_others(certs, tmp_path)
    with trio.move_on_after(3.5 * LOOK_INTERVAL_S):
        await certificates.watch()

    assert certificate.context() is not before
    assert lines.messages == ["bbs.certificates.reloaded"]


async def test_files_that_cannot_be_used_change_nothing(
    certs: DevelopmentCerts, files: TLSFiles, autojump_clock: MockClock
) -> None:
    certificate, lines = server_certificate(files), Lines()
    before = certificate.context()
    certs.server_key.write_text("half a key")

    with trio.move_on_after(3.5 * LOOK_INTERVAL_S):
        await Certificates([certificate], log=lines.logger()).watch()

    assert certificate.context() is before
    assert lines.messages == ["bbs.certificates.failed-to-reload"]


@pytest.mark.parametrize("is_read_once", [False, True])
def test_when_a_certificate_ends_is_told_of_the_one_in_use(tmp_path: Path, is_read_once: bool) -> None:
    """Of a file that is also read once, as Locket's may be, that is the one of the start."""
    authority = Authority(tmp_path, "ca")
    first = authority.issue("server", ends=2 * DAY)
    files = TLSFiles(ca_file=authority.ca, cert_file=first.cert, key_file=first.key)
    read_once = [files] if is_read_once else []
    certificates = Certificates([server_certificate(files)], read_once=read_once, log=Lines().logger())
    assert certificates.end_s() == {first.cert: end_s(first)}

    second = authority.issue("server", ends=9 * DAY)
    certificates.reload()

    assert certificates.end_s() == {first.cert: end_s(first if is_read_once else second)}


def end_s(pair: Pair) -> float:
    return pair.certificate.not_valid_after_utc.timestamp()


def test_files_that_cannot_be_used_at_first_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TLSFilesInvalid):
        server_certificate(
            TLSFiles(ca_file=tmp_path / "a", cert_file=tmp_path / "b", key_file=tmp_path / "c")
        )
