"""A wall clock that jumps while a process runs: libfaketime, which `make test-packages` installs where Debian's packages are."""

from pathlib import Path


class FakedClock:
    """For one process, started with ``environment``. Only its wall clock is faked: those that count on from the boot go on, as
    when an administrator, or NTP, sets the time of a machine.
    """

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.jump_to(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump_to(self, offset_s: int) -> None:
        """From now on it shows so many seconds more than the real one."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}s")
        new.replace(self._file)  # at once: the process reads it each time it looks at the clock
