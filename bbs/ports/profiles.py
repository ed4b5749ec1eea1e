"""What a running process looks like from inside, as text for whoever debugs it: tasks, threads, memory, CPU.

The counterpart of Go's profiles, under their names where the debug page serves them (spec: metrics-and-logs.md §5).
"""

import gc
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

import trio

Stack = tuple[str, ...]
"""One line per frame, the outermost first."""


def tasks_by_stack() -> str:
    """All Trio tasks, those that wait at the same place counted together, the most numerous first."""
    stacks = Counter(_stack_of(task) for task, _ in _tasks())
    lines = [f"tasks: total {stacks.total()}"]
    for stack, number in stacks.most_common():
        lines += ["", f"{number} @", *(f"  {frame}" for frame in stack)]
    return "\n".join([*lines, "", threads(), ""])


def task_tree() -> str:
    """All Trio tasks, children below their parents, each with its stack."""
    lines = []
    for task, depth in _tasks():
        indent = "  " * depth
        lines += [f"{indent}{task.name}", *(f"{indent}  | {frame}" for frame in _stack_of(task))]
    return "\n".join([*lines, "", threads(), ""])


def threads() -> str:
    """All threads, each with its name and what it is doing now, the outermost frame first."""
    frames = sys._current_frames()
    lines = [f"threads: total {len(frames)}"]
    for thread in threading.enumerate():
        if thread.ident in frames:
            stack = reversed(_stack_of_frame(frames[thread.ident]))
            lines += ["", f"thread {thread.name}", *(f"  {line}" for line in stack)]
    return "\n".join(lines)


def memory(*, types_shown: int = 50, collect: bool = False) -> str:
    """Memory of the process, and what the garbage collector knows. Walks its objects: 10 ms per 100,000 of them.

    With ``collect`` all garbage is collected first, which holds up every thread for as long as that takes.
    """
    if collect:
        gc.collect()
    lines = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("VmPeak", "VmSize", "VmHWM", "VmRSS", "RssAnon", "Threads"))
    ]
    lines += [f"gc.threshold:\t{gc.get_threshold()}", f"gc.count:\t{gc.get_count()}"]
    lines += [f"gc.generation[{number}]:\t{stats}" for number, stats in enumerate(gc.get_stats())]
    types = Counter(type(found) for found in gc.get_objects())
    lines += [
        f"gc.frozen:\t{gc.get_freeze_count()}",
        f"gc.objects:\t{types.total()}",
        f"allocated blocks:\t{sys.getallocatedblocks()}",
        "",
        "tracked objects by type, frozen ones left out:",
    ]
    lines += [
        f"{number:10d} {kind.__module__}.{kind.__qualname__}"
        for kind, number in types.most_common(types_shown)
    ]
    return "\n".join([*lines, ""])


def sample_cpu(*, duration_s: float, per_s: float, stop: threading.Event) -> str:
    """What all other threads were seen doing: folded stacks with their numbers, as flame graph tools read them.

    Blocks; to be run in a thread of its own. Ends early when ``stop`` is set. A sample costs the others some 50 µs.
    """
    own = threading.get_ident()
    seen: Counter[Stack] = Counter()
    for _ in range(max(1, round(duration_s * per_s))):
        if stop.wait(1 / per_s):
            break
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own:
                stack = tuple(
                    f"{each.f_code.co_qualname} ({each.f_code.co_filename}:{each.f_code.co_firstlineno})"
                    for each in _callers(frame)
                )
                seen[(names.get(ident, f"thread-{ident}"), *reversed(stack))] += 1
    return "".join(
        f"{';'.join(part.replace(';', ',') for part in stack)} {number}\n"
        for stack, number in seen.most_common()
    )


def _tasks() -> Iterator[tuple[trio.lowlevel.Task, int]]:
    """Every task with its depth, parents first."""
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [(root, 0)]
    while waiting:
        task, depth = waiting.pop()
        yield task, depth
        for nursery in task.child_nurseries:
            waiting += [(child, depth + 1) for child in nursery.child_tasks]


def _stack_of(task: trio.lowlevel.Task) -> Stack:
    return _lines(task.iter_await_frames())


def _stack_of_frame(frame: FrameType) -> Stack:
    return _lines((each, each.f_lineno) for each in _callers(frame))


def _callers(frame: FrameType) -> Iterator[FrameType]:
    each: FrameType | None = frame
    while each is not None:
        yield each
        each = each.f_back


def _lines(frames: Iterable[tuple[FrameType, int]]) -> Stack:
    # Without the source lines: reading files has no place in a running event loop.
    summaries = traceback.StackSummary.extract(iter(frames), lookup_lines=False)
    return tuple(f"{summary.name} ({summary.filename}:{summary.lineno})" for summary in summaries)
