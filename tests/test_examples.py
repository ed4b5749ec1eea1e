"""The examples of `docs/client.md`, and README's, run against a server with simulated cells."""

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import bbs.client
from bbs.client import BBSClient, ClientConfig, ResourceExists, pb
from bbs.demo.behaviour import QUIET
from bbs.models.errors import BY_WIRE_TYPE
from examples import connect, from_asyncio, lists, run_app, run_task, surely, task_callback, watch
from tests.client.scripted_server import ScriptedServer, Step, Then, answer
from tests.demo_fleet import PATIENCE_S, DemoStage
from tests.waiting import wait_until

SAYS: Mapping[Callable[[], Awaitable[None]], str] = {
    connect.main: r"is master\n(cell-\d in z\d: 16384 MB, 250 containers\n){3}",
    lists.main: r"demo: 6 instances are desired\n(cell-\d: 2 running, \d+ tasks\n){3}",
    run_app.main: r"(app-\w{8}/\d runs on cell-\d\n){3}",
    run_task.main: r"task-\w{8} took \d\.\d s: done\n",
    task_callback.main: r"task-\w{8} \(mine\): done\n",
    surely.main: r"app-\w{8} is desired\n",
}
"""Each example that ends by itself, and all that it prints."""

RUN = (connect, from_asyncio, lists, run_app, run_task, surely, task_callback, watch)

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text()
GUIDE = (REPOSITORY / "docs" / "client.md").read_text()
NOT_IN_THE_GUIDE = {
    "Change", "ClientOptions", "Connector", "EventMessage", "Log", "RowsOf", "Told", "http_get", "new_trace_id", "pb",
    "shake_hands", "tcp_connector", "what_is_told",
}  # fmt: skip

LIVELY = replace(QUIET, creation_s=(0.0, 0.1), task_every_s=0.5, task_duration_s=(0.1, 0.2))


def names(config: ClientConfig) -> Mapping[str, str]:
    """The environment that leads to a BBS."""
    return {
        "BBS_URL": config.url,
        "CA_CERT_FILE": str(config.ca_file),
        "CLIENT_CERT_FILE": str(config.cert_file),
        "CLIENT_KEY_FILE": str(config.key_file),
    }


@pytest.mark.slow
async def test_the_examples_do_what_they_say(
    demo_stage: DemoStage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with demo_stage(LIVELY) as stage:
        for name, value in names(stage.client).items():
            monkeypatch.setenv(name, value)
        await stage.until_all_run()
        for example, says in SAYS.items():
            capsys.readouterr()
            with trio.fail_after(PATIENCE_S):
                await example()
            assert re.fullmatch(says, capsys.readouterr().out), example.__module__

        await says_until_it_is_ended(capsys)
        await the_readme_says(stage.client, capsys)

        # In a process of its own: where trio_asyncio was imported, as here, asyncio's loops are Trio's.
        with trio.fail_after(PATIENCE_S):
            ended = await trio.run_process(
                [sys.executable, "-m", from_asyncio.__name__], capture_stdout=True, capture_stderr=True
            )
        told = rb"cells: cell-0 cell-1 cell-2\n(Added\n|Changed\n|Removed\n){3}"
        assert re.fullmatch(told, ended.stdout)
        assert ended.stderr == b""


async def says_until_it_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""

    def has_said() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        wanted = (r"\A1 apps, 6 instances, \d+ tasks\n", r"^task-\w+ is Running$", r"^task-\w+ is Completed$")
        return all(re.search(line, said, re.MULTILINE) for line in wanted)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.main)
        await wait_until(has_said, within_s=PATIENCE_S, what="the watch told of a task", every_s=0.1)
        nursery.cancel_scope.cancel()


async def the_readme_says(config: ClientConfig, capsys: pytest.CaptureFixture[str]) -> None:
    """README's two blocks, the second within the first, of a BBS and of files that there are."""
    [section] = re.findall(r"^## The client\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    first, second = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    program = first + textwrap.indent(second, " " * 4)
    for of_page, here in {
        "https://127.0.0.1:8889": config.url,
        "dev-certs/ca.crt": config.ca_file,
        "dev-certs/client.crt": config.cert_file,
        "dev-certs/client.key": config.key_file,
        "cf-apps": "demo",
    }.items():
        assert of_page in program
        program = program.replace(of_page, str(here))
    said = ""

    def has_said(*lines: str) -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return all(re.search(line, said, re.MULTILINE) for line in lines)

    async def run() -> None:
        code = compile(program, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        await eval(code, {})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        listed = (r"^app True$", r"^1 processes, 6 instances$")
        await wait_until(partial(has_said, *listed), within_s=PATIENCE_S, what="README lists", every_s=0.1)
        await surely.main()
        told = (r"^Added\(after=process_guid: ", r"^Removed\(before=process_guid: ")
        await wait_until(partial(has_said, *told), within_s=PATIENCE_S, what="README watches", every_s=0.1)
        nursery.cancel_scope.cancel()


NO_ANSWER = answer(status="502 Bad Gateway", content_type="text/plain", then=Then.CLOSE)
EXISTS = answer(pb.DesiredLRPLifecycleResponse(error=ResourceExists().to_wire()))
DONE = answer(pb.DesiredLRPLifecycleResponse())


def there(annotation: str) -> Step:
    return answer(pb.DesiredLRPResponse(desired_lrp=pb.DesiredLRP(process_guid="p", annotation=annotation)))


@pytest.mark.parametrize(
    ("steps", "is_ours"),
    [
        pytest.param([DONE], True, id="at once"),
        pytest.param([NO_ANSWER, NO_ANSWER, DONE], True, id="when the server is back"),
        pytest.param([NO_ANSWER, EXISTS, there("ours")], True, id="by the attempt whose answer was lost"),
        pytest.param([EXISTS, NO_ANSWER, EXISTS, there("ours")], True, id="though nobody says whose it is"),
        pytest.param([EXISTS, there("other")], False, id="by somebody else"),
    ],
)
async def test_an_app_is_desired_for_sure(
    nursery: trio.Nursery, autojump_clock: MockClock, steps: list[Step], is_ours: bool
) -> None:
    server = ScriptedServer(nursery)
    server.plays(*steps)
    lrp = pb.DesiredLRP(process_guid="p", annotation="ours")
    async with BBSClient.connect("http://bbs.test", connector=server.connect, attempts=1) as client:
        if is_ours:
            await surely.desire(client, lrp)
        else:
            with pytest.raises(ResourceExists):
                await surely.desire(client, lrp)

    assert not server.script


@pytest.mark.slow
def test_cancelling_an_asyncio_task_ends_its_guest() -> None:
    """And an error of the guest's work comes out as it is."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.guest_of_asyncio"], capture_output=True, text=True, timeout=PATIENCE_S
    )

    assert (ended.stdout, ended.stderr) == ("ended\ncancelled\nwrong\n", "")


def test_each_example_is_run() -> None:
    run = {module.__name__ for module in RUN}
    of_the_client = {
        f"examples.{path.stem}"
        for path in Path(connect.__file__).parent.glob("*.py")
        if "from examples.connect import" in path.read_text()
    }

    assert run == of_the_client | {connect.__name__}


def test_the_guide_shows_sections_that_there_are() -> None:
    shown = re.findall(r'^--8<-- "(examples/\w+\.py):(\w+)"$', GUIDE, re.MULTILINE)

    assert {file for file, _ in shown} == {
        f"examples/{module.__name__.partition('.')[2]}.py" for module in RUN
    }
    for file, section in shown:
        text = (REPOSITORY / file).read_text()
        assert f"# --8<-- [start:{section}]\n" in text, (file, section)
        assert f"# --8<-- [end:{section}]\n" in text, (file, section)


def test_the_guide_has_the_time_outs_that_there_are() -> None:
    told = dict(re.findall(r"^\| `(\w+_timeout_s)` \| (\w+) \|", GUIDE, re.MULTILINE))
    defaults = {
        field.name: field.default for field in fields(ClientConfig) if field.name.endswith("_timeout_s")
    }

    assert told == {name: "None" if seconds is None else f"{seconds:g}" for name, seconds in defaults.items()}


def test_the_guide_refers_to_all_that_the_client_has_of_its_own() -> None:
    """Refusals, of which there are many, are in their table by example. What is left out is for those who build on the client."""
    [members] = re.findall(r"^      members:\n((?:        - \w+\n)+)", GUIDE, re.MULTILINE)
    referred_to = set(re.findall(r"- (\w+)", members))
    own = {
        name
        for name in bbs.client.__all__
        if name not in {error.__name__ for error in BY_WIRE_TYPE.values()} | NOT_IN_THE_GUIDE
    }

    assert referred_to == own
