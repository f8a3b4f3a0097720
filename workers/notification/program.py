"""Runs one command within its time, by the means that leaves are run by: it dies with us, and whatever it starts ends with it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs

from supervisor import Event, Exit, OrphansSwept, command, duration

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

GRACE: Final = 1.0
"""Seconds between asking a command that took too long to end, and killing it."""

ENDING: Final = 5.0
"""Seconds after which one that was killed is not waited for any longer."""

_TAIL: Final = 3


@attrs.define(eq=False)
class _Life:
    """The ticket of a command without a supervisor above it: it is run once, and its events are nobody's."""

    tasks: TaskGroup
    path: tuple[str, ...]
    generation: int = 1
    exit: Exit | None = None
    over: anyio.Event = attrs.field(factory=anyio.Event)
    left: int = 0

    def started(self, value: object = None) -> None:
        """It runs."""

    def ignored(self) -> None:
        """A command never declines."""

    def extend(self, seconds: float) -> None:
        """Nobody has more time than another."""

    def exited(self, exit: Exit) -> None:
        """It is over."""
        self.exit = exit
        self.over.set()

    def emit(self, event: Event) -> None:
        """Not to the stream: an event that a hook causes would run the hook again."""
        if isinstance(event, OrphansSwept):
            self.left += len(event.pids)

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> anyio.CancelScope:
        """Run one of its tasks."""
        scope = anyio.CancelScope(shield=True)

        async def shielded() -> None:
            with scope:
                await run()

        self.tasks.start_soon(shielded, name=name)
        return scope


async def run_program(
    argv: Sequence[str],
    timeout: float,
    *,
    stdin: Path | None = None,
    stdout: Callable[[bytes], None] | None = None,
    path: tuple[str, ...] = (),
) -> str | None:
    """Run a command to its end.

    Args:
        argv: The command and its arguments.
        timeout: Seconds that it may take; then it is asked to end, and killed a second later.
        stdin: A file that it reads; nothing where None.
        stdout: Called with what it writes; that goes nowhere where None.
        path: What it is called in its mark.

    Returns:
        What went wrong, for a person; None when it ended with code 0 and left nothing behind.

    **Cancellation:** kills it with everything that it has started, and waits for that.
    """
    launch = command(
        *argv,
        stdin="null" if stdin is None else stdin,
        stdout="null" if stdout is None else stdout,
        stderr=_nowhere,
        tail=_TAIL,
        terminal="never",
        cgroup="never",
    )
    async with anyio.create_task_group() as tasks:
        life = _Life(tasks, path or (argv[0],))
        try:
            handle = launch.launch(life)
        except OSError as error:
            return f"{argv[0]!r} cannot be started: {error.strerror or error}"
        late = False
        try:
            with anyio.move_on_after(timeout) as scope:
                await life.over.wait()
            late = scope.cancelled_caught
            if late:
                handle.terminate()
                with anyio.move_on_after(GRACE):
                    await life.over.wait()
        finally:
            if not life.over.is_set():
                handle.kill()
                with anyio.move_on_after(ENDING, shield=True):
                    await life.over.wait()
        if late:
            return f"it took longer than {duration(timeout)} and was ended"
    return _said(life)


def _said(life: _Life) -> str | None:
    exit = life.exit
    if exit is None or not exit.is_clean:
        reason = "it did not end" if exit is None else exit.reason
        last = exit.output[-1].strip() if exit is not None and exit.output else ""
        return f"{reason}: {last}" if last else reason
    if life.left:
        return f"it left {life.left} processes behind, which were killed"
    return None


def _nowhere(chunk: bytes) -> None:
    """What it says on standard error is not shown: a leaf may have the screen. The last lines come with a failure."""
