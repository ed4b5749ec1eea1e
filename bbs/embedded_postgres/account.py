"""The user that Postgres runs as when we are root, which it refuses to be.

That is whoever owns the data, else the user `postgres`, else one made for it. That user must be able to walk down to the
binaries and the data, where a parent may be private (as ``mktemp -d`` makes it). Such a parent gets search permission for
its *group*, and the postmaster joins that group: for directories of root's that opens them to nobody else.
"""

import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bbs.embedded_postgres.errors import EmbeddedPostgresFailed

USERADD_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """The user that Postgres runs as when we are root."""

    uid: int
    gid: int
    groups: set[int]  # grows by the groups of the directories it has to pass

    @classmethod
    def owning(cls, cluster: Path) -> "Account":
        if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid, {owner.st_gid})
        entry = postgres_user()
        return cls(entry.pw_uid, entry.pw_gid, {entry.pw_gid})

    def let_reach(self, directory: Path) -> None:
        """Let it pass ``directory`` and all parents; see the module's text."""
        for step in (*reversed(directory.resolve().parents), directory.resolve()):
            self._grant(step, group=stat.S_IXGRP, others=stat.S_IXOTH)

    def let_read(self, tree: Path) -> None:
        """Let it use all files below ``tree``, where an installation under a strict umask kept them private."""
        for path in (tree, *tree.rglob("*")) if tree.exists() else ():
            self._grant(path, group=stat.S_IRGRP, others=stat.S_IROTH)
            if path.stat().st_mode & stat.S_IXUSR:
                self._grant(path, group=stat.S_IXGRP, others=stat.S_IXOTH)

    def _grant(self, path: Path, *, group: int, others: int) -> None:
        status = path.stat()
        if status.st_uid == self.uid or status.st_mode & (group | others) == group | others:
            return
        if not status.st_mode & group:
            path.chmod(stat.S_IMODE(status.st_mode) | group)
        self.groups.add(status.st_gid)


def postgres_user() -> pwd.struct_passwd:
    for name in ("postgres", "embedded_postgres"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    useradd = shutil.which("useradd")
    if useradd is None:
        raise EmbeddedPostgresFailed(
            "Postgres does not run as root, and there is no user `postgres` to run it as"
        )
    subprocess.run(
        [useradd, "--system", "--no-create-home", "--user-group", "embedded_postgres"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=USERADD_MAX_S,
    )
    try:
        return pwd.getpwnam("embedded_postgres")
    except KeyError:
        raise EmbeddedPostgresFailed(
            "Postgres does not run as root, and adding a user for it failed"
        ) from None
