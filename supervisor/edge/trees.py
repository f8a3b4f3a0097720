"""A tree of somebody's own: loaded by name for ``app`` and ``check``, and run."""

from __future__ import annotations

import os
import sys
from types import CoroutineType
from typing import TYPE_CHECKING

from ..core.errors import SpecError
from ..core.exits import describe
from .application import load_attribute, where_raised
from .usage import UsageError

if TYPE_CHECKING:
    from ..runtime.supervisor import Supervisor
    from .application import Session


def load_tree(name: str) -> Supervisor:
    """The tree that ``app MODULE:ATTRIBUTE`` names: a supervisor that has not been entered, or a callable that makes one.

    A module beside the current directory can be imported, but never instead of an installed one.

    Raises:
        UsageError: It cannot be loaded, or is no tree.
    """
    from ..runtime.supervisor import Supervisor

    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    value = load_attribute(name)
    if callable(value):
        try:
            value = value()
        except SpecError as error:
            raise UsageError([f"{name}: {error}"]) from error
        except Exception as error:  # as above: the user's code, one line with its place
            raise UsageError([f"{name}: calling it failed: {describe(error)}{where_raised(error)}"]) from error
    if isinstance(value, Supervisor):
        return value
    if isinstance(value, CoroutineType):
        value.close()  # else it would warn that nobody awaited it
    raise UsageError([f"{name}: expected a Supervisor or a function (not async) that returns one, got {type(value).__name__}"])


def check_tree(name: str) -> str:
    """What the tree that ``check MODULE:ATTRIBUTE`` names amounts to, for a person; nothing of it is started.

    Raises:
        UsageError: It cannot be loaded, or is no tree.
    """
    from ..core.tuning import describe_worst, nested_budgets, worst_cases

    tree = load_tree(name)
    cases = worst_cases(tree.id, tree.flags, tree.specs)
    lines = [f"{name}: valid", *(f"  {line}" for line in describe_worst(cases))]
    return "\n".join([*lines, *(f"  warning: {line}" for line in nested_budgets(cases))])


async def run_tree(tree: Supervisor, session: Session) -> int:
    """Run a tree until a signal stops it or it ends by itself.

    **Cancellation:** stops all children, as leaving the tree's block does.

    Raises:
        RestartIntensityExceeded: The tree gave up.
        StartFailed: A child did not start.
    """
    import anyio

    from .render import Renderer

    tree.run_id = session.run
    if session.event_file is not None:
        tree.add_sink(session.event_file.write)
    for sink in session.service.sinks(Renderer(redact=session.redactor.text)):
        tree.add_sink(sink)
    control = session.control
    if control is not None:
        tree.add_sink(control.keep)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        block = anyio.CancelScope()
        if control is not None:
            tasks.start_soon(control.serve, tree, session.stop)

        async def watch() -> None:
            await session.stop.wait()
            # a tree that is still starting is stopped as well
            block.cancel()
            await session.stop.wait_hurried()
            tree.hurry()

        tasks.start_soon(watch)
        try:
            with block:
                async with tree:
                    session.service.ready()
                    if control is not None:
                        control.began()
                    # the tree cancels this when it ends by itself
                    await anyio.sleep_forever()
        except Exception as error:  # raised again below, where no task group wraps it
            failure = error
        if control is not None:
            await control.flushed()
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return 0
