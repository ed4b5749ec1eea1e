"""TLS contexts that follow their files, so that certificates are rotated without a restart.

Upstream reads its files once. Here a `Certificate` is asked for its context at each new connection; `reload` makes
a new one from the files as they are then. Connections that are open go on with what they began with. Files that can't
be used change nothing, so a rotation may replace them one after the other.
"""

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

import trio

from bbs.log import Logger
from bbs.tls.contexts import TLSFiles, certificate_end_s, client_context, server_context

LOOK_INTERVAL_S: Final = 10.0
"""Pause between looks at the files, for those who replace them and send no signal."""

Signature = tuple[tuple[int, int, int], ...]


class Certificate:
    """A context made from ``files`` by ``make``; raises TLSFilesInvalid like it. ``ends_s`` is when our certificate in it ends, in Unix
    seconds.
    """

    def __init__(self, files: TLSFiles, make: Callable[[TLSFiles], ssl.SSLContext]) -> None:
        self.files: Final = files
        self._make = make
        self._context = make(files)
        self.ends_s = certificate_end_s(files.cert_file)
        self._signature = _signature(files)

    def context(self) -> ssl.SSLContext:
        return self._context

    def reload(self) -> None:
        """Read the files again.

        Raises:
          TLSFilesInvalid: they can't be used; the context stays as it was.
        """
        self._signature = _signature(self.files)
        context, ends_s = self._make(self.files), certificate_end_s(self.files.cert_file)
        self._context, self.ends_s = context, ends_s

    def has_changed(self) -> bool:
        """Whether the files are others than those that were read, or tried, last."""
        return _signature(self.files) != self._signature


def server_certificate(files: TLSFiles) -> Certificate:
    return Certificate(
        files, lambda f: server_context(ca_file=f.ca_file, cert_file=f.cert_file, key_file=f.key_file)
    )


def client_certificate(files: TLSFiles) -> Certificate:
    return Certificate(
        files, lambda f: client_context(ca_file=f.ca_file, cert_file=f.cert_file, key_file=f.key_file)
    )


class Certificates:
    """All certificates of a process: `reload` is for SIGHUP, `watch` for files that change without a signal. Those in the files
    ``read_once`` stay what they were when this was made.
    """

    def __init__(
        self, certificates: Sequence[Certificate], *, read_once: Sequence[TLSFiles] = (), log: Logger
    ) -> None:
        self._certificates = certificates
        self._read_once = {
            os.fspath(files.cert_file): certificate_end_s(files.cert_file) for files in read_once
        }
        self._log = log.session("certificates")

    def end_s(self) -> Mapping[str, float]:
        """When each certificate that is in use ends, in Unix seconds, by its file. Of a file that is used both ways, what is read
        once counts: it lasts until the process is started again.
        """
        reloaded = {os.fspath(each.files.cert_file): each.ends_s for each in self._certificates}
        return {**reloaded, **self._read_once}

    def reload(self) -> None:
        """Read all files again, whether they have changed or not; what fails is logged, and stays as it was."""
        self._reload(self._certificates)

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Reload what has changed, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            self._reload([each for each in self._certificates if each.has_changed()])

    def _reload(self, certificates: Sequence[Certificate]) -> None:
        for certificate in certificates:
            about = {"cert-file": os.fspath(certificate.files.cert_file)}
            try:
                certificate.reload()
            except Exception as error:
                # Whatever is in the files, or wrong with how they were read: what was read before goes on being used.
                self._log.error("failed-to-reload", about, error=error)
            else:
                self._log.info("reloaded", about)


def _signature(files: TLSFiles) -> Signature:
    """What differs when a file was replaced or rewritten: time of change, inode and size. Zeros if it is not there."""
    return tuple(_stat(path) for path in (files.ca_file, files.cert_file, files.key_file))


def _stat(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)
