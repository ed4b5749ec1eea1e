"""The settings of ``bbs serve``: one frozen record, made from its flags."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bbs.config.errors import ConfigInvalid
from bbs.http.limits import Limits
from bbs.lifecycle.desired_lrps import INSTANCES_MAX
from bbs.lifecycle.task_convergence import TaskLimits
from bbs.peers.opened import AuctioneerSettings
from bbs.store.crypto import Keyring
from bbs.store.store import BATCH_ROWS_MAX, WRITE_RETRY_S
from bbs.tls.contexts import TLSFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """Upstream's settings about tasks and the peers they need (spec: config.md §2.1, §2.2), with its deployed values.

    Durations are seconds. A ``communication_timeout_s`` of 0 means that calls to peers may take as long as they take.
    """

    max_task_retries: int = 3
    task_callback_workers: int = 1000
    communication_timeout_s: float = 10.0
    converge_repeat_interval_s: float = 30.0
    kick_task_duration_s: float = 30.0
    expire_pending_task_duration_s: float = 1800.0
    expire_completed_task_duration_s: float = 120.0

    def limits(self) -> TaskLimits:
        return TaskLimits(
            kick_ns=int(self.kick_task_duration_s * 1e9),
            expire_pending_ns=int(self.expire_pending_task_duration_s * 1e9),
            expire_completed_ns=int(self.expire_completed_task_duration_s * 1e9),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Addresses are ``host:port``, port 0 for a free one; reps register at ``locket_listen_address``, and the other two
    ports are there only if given. No ``database_url``: a Postgres of our own.

    Without an ``auctioneer`` auctions are only remembered, for a while.
    """

    listen_address: str = "127.0.0.1:8889"
    locket_listen_address: str = "127.0.0.1:8891"
    health_address: str | None = None
    debug_address: str | None = None
    data_dir: Path = Path("bbs-data")
    database_url: str | None = None
    tls: TLSFiles | None = None
    limits: Limits = field(default_factory=Limits)
    fast_lane: bool = True
    write_retry_s: float = WRITE_RETRY_S
    batch_rows_max: int = BATCH_ROWS_MAX
    update_workers: int = 1000
    desired_lrp_instances_max: int = INSTANCES_MAX
    convergence_workers: int = 20
    tasks: TaskSettings = field(default_factory=TaskSettings)
    auctioneer: AuctioneerSettings | None = None
    log_level: str = "info"


KEYS_FILE: Final = "encryption-keys.json"


def local_keyring(data_dir: Path) -> Keyring:
    """The encryption keys kept in ``data_dir``, made there on the first start.

    The file has the two keys of upstream's configuration, ``encryption_keys`` and ``active_key_label``, so that a
    database can move to a server configured that way.

    Raises:
      ConfigInvalid: the file cannot be read or written, or does not hold usable keys.
    """
    path = data_dir / KEYS_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            keys: dict[str, Any] = {
                "active_key_label": "local",
                "encryption_keys": {"local": secrets.token_hex(32)},
            }
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(keys, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
        found = json.loads(path.read_text())
        return Keyring(found["encryption_keys"], found["active_key_label"])
    except OSError as error:
        raise ConfigInvalid(
            f"cannot keep encryption keys in {path}: {error.strerror}; choose another --data-dir"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigInvalid(
            f"{path} does not hold usable encryption keys ({error}); restore it: without it the data cannot be read"
        ) from error
