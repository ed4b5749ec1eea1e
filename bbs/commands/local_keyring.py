"""The encryption keys of a server that nobody has given any."""

import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

from bbs.config.errors import ConfigInvalid
from bbs.store.crypto import Keyring

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
            # For its owner's eyes only from the first moment on, and never over keys that another process has just made.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(keys, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())  # the database is going to outlive a power cut, and needs these keys
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
