"""As whom the programs run that a test starts beside the server: some of them refuse to be root's."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bbs.embedded_postgres.account import Account
from perf.programs import program


def found(name: str) -> str:
    """The path of a program that is there."""
    path = program(name)
    assert path is not None, f"{name} is not installed"
    return path


class Rights:
    """Those of Postgres' user, if we are root. It can reach ``home``, and use all that is below ``trees``."""

    def __init__(self, home: Path, *, trees: Sequence[Path] = ()) -> None:
        self._prefix: list[str] = [found("setpriv"), "--pdeathsig", "TERM"]
        self._account: Account | None = None
        if os.geteuid() != 0:
            return
        self._account = account = Account.owning(home / "none")
        account.let_reach(home)
        for tree in trees:
            account.let_reach(tree)
            account.let_read(tree)
        groups = ",".join(map(str, sorted(account.groups)))
        self._prefix += [f"--reuid={account.uid}", f"--regid={account.gid}", f"--groups={groups}"]

    def give(self, path: Path) -> Path:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)
        return path

    def make_folder(self, path: Path) -> Path:
        path.mkdir(mode=0o700)
        return self.give(path)

    def start(self, command: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
        """A process that gets SIGTERM when this one ends.

        The kernel sends it when the *thread* that started the process ends, and Trio would start it in one that ends when
        it is idle. So this blocks, for some milliseconds.
        """
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self._prefix, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
            )
