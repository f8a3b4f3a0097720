"""A prompt through standard input: read once, told to each life that begins anew."""

from __future__ import annotations

import hashlib
import sys

import anyio
import pytest

from supervisor import Lines, OutputLine, command
from supervisor.core.exits import ExitKind
from workers.claude import piped as module
from workers.claude.piped import PipedPrompt

from ..support import eventually
from ..support_ticket import LifeTicket

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")]


async def told(prompt: PipedPrompt, script: str, *, anew: bool = True, feed: tuple[bytes, ...] = (), close: bool = True) -> list[str]:
    """What a life that runs a script prints; it is fed meanwhile."""
    async with anyio.create_task_group() as group:
        ticket = LifeTicket(group)
        prompt.begin(lambda stdin: command("sh", "-c", script, stdin=stdin, stdout=Lines()), ticket, anew=anew)
        for chunk in feed:
            await prompt.feed(chunk)
        if close and feed:
            prompt.close()
        assert (await ticket.wait_exit()).kind is ExitKind.NORMAL
    return [event.text for event in ticket.events if isinstance(event, OutputLine)]


async def test_each_life_that_begins_anew_is_told_all_of_it() -> None:
    """Also what a life before has read; one that goes on with a conversation reads nothing."""
    prompt = PipedPrompt()
    assert await told(prompt, "head -c 4", feed=(b"one ", b"two"), close=False) == ["one "]
    prompt.close()
    assert await told(prompt, "cat") == ["one two"]
    assert await told(prompt, "cat", anew=False) == []
    assert await told(prompt, "exec <&-; sleep 0.1") == []
    assert await told(prompt, "cat") == ["one two"]


async def test_it_is_told_as_it_comes() -> None:
    """A life can read the beginning before there is an end."""
    prompt = PipedPrompt()
    async with anyio.create_task_group() as group:
        ticket = LifeTicket(group)
        prompt.begin(lambda stdin: command("sh", "-c", "read -r a; echo $a; cat", stdin=stdin, stdout=Lines()), ticket, anew=True)
        await prompt.feed(b"now\n")
        await eventually(lambda: any(isinstance(event, OutputLine) for event in ticket.events))
        prompt.close()
        await ticket.wait_exit()


async def test_a_long_prompt() -> None:
    """Some megabytes go through a pipe of some kilobytes, twice."""
    prompt, data = PipedPrompt(), bytes(range(256)) * 20_000
    for feed in ((data,), ()):
        assert await told(prompt, "sha256sum", feed=feed) == [f"{hashlib.sha256(data).hexdigest()}  -"]


async def test_one_that_is_too_long_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not kept; a later life gets none, for a part of it is another prompt."""
    monkeypatch.setattr(module, "LARGEST", 1000)
    prompt, chunk = PipedPrompt(), b"x" * 700
    assert await told(prompt, "wc -c", feed=(chunk,) * 10) == ["7000"]
    assert await told(prompt, "cat") == []
