"""Actions and what they download (spec: validation.md §4.2)."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from bbs.models import pb
from bbs.models.actions import inner_action
from bbs.models.validation.fields import NO_ACTION, invalid

CHECKSUM_ALGORITHMS: Final = frozenset({"md5", "sha1", "sha256"})


def action(wrapper: pb.Action) -> list[str]:
    """What is wrong with an action. An empty wrapper is refused wherever it is; upstream panics on one inside another."""
    kind, inner = inner_action(wrapper)
    return KINDS[kind](inner) if kind else [invalid("inner-action")]


def checksum(algorithm: str, value: str) -> list[str]:
    """What is wrong with a checksum: the first thing only, as upstream stops there."""
    if value and not algorithm:
        return [invalid("checksum algorithm")]
    if algorithm and not value:
        return [invalid("checksum value")]
    if value and algorithm.lower() not in CHECKSUM_ALGORITHMS:
        return [invalid("invalid algorithm")]
    return []


def cached_dependencies(dependencies: Iterable[pb.CachedDependency]) -> list[str]:
    found = []
    for dependency in dependencies:
        broken = [invalid(name) for name in ("from", "to") if not getattr(dependency, name)]
        broken += checksum(dependency.checksum_algorithm, dependency.checksum_value)
        if broken:
            found += [invalid("cached_dependency"), *broken]
    return found


def sidecars(all_of_them: Iterable[pb.Sidecar]) -> list[str]:
    found = [entry for one in all_of_them for entry in sidecar(one)]
    return [invalid("sidecars"), *found] if found else []


def sidecar(one: pb.Sidecar) -> list[str]:
    found = []
    if not one.HasField("action"):
        found.append(NO_ACTION)
    elif broken := action(one.action):
        found += [invalid("action"), *broken]
    if one.memory_mb < 0:
        found.append(invalid("memory_mb"))
    if one.disk_mb < 0:
        found.append(invalid("disk_mb"))
    return found


def _download(download: pb.DownloadAction) -> list[str]:
    found = [invalid(name) for name in ("from", "to", "user") if not getattr(download, name)]
    return found + checksum(download.checksum_algorithm, download.checksum_value)


def _upload(upload: pb.UploadAction) -> list[str]:
    return [invalid(name) for name in ("to", "from", "user") if not getattr(upload, name)]


def _run(run: pb.RunAction) -> list[str]:
    return [invalid(name) for name in ("path", "user") if not getattr(run, name)]


def _timeout(timeout: pb.TimeoutAction) -> list[str]:
    found = _wrapper(timeout)
    if timeout.timeout_ms <= 0:
        found.append(invalid("timeout_ms"))
    return found


def _wrapper(holder: pb.TimeoutAction | pb.TryAction | pb.EmitProgressAction) -> list[str]:
    return action(holder.action) if holder.HasField("action") else [invalid("action")]


def _group(group: pb.ParallelAction | pb.SerialAction | pb.CodependentAction) -> list[str]:
    if not group.actions:
        return [invalid("actions")]
    return [entry for one in group.actions for entry in action(one)]


KINDS: Final[dict[str, Callable[[Any], list[str]]]] = {
    "download_action": _download,
    "upload_action": _upload,
    "run_action": _run,
    "timeout_action": _timeout,
    "emit_progress_action": _wrapper,
    "try_action": _wrapper,
    "parallel_action": _group,
    "serial_action": _group,
    "codependent_action": _group,
}
