"""Wrong arguments of calls: the caller hears of them, the tree does not."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor import ChildExited, ChildNotFound, ChildSpec, ChildType, Exit, ExitKind, InvalidField, Restart, Supervisor, Ticket, subtree
from tests.play import Play

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("id", [7, None, "", [], b"a"])
@pytest.mark.parametrize("call", ["terminate_child", "delete_child"])
async def test_an_id_that_can_be_none_is_the_callers_fault(call: str, id: Any) -> None:
    """The call raises a typed error with the value, and every child goes on."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        with pytest.raises(InvalidField) as caught:
            await getattr(root, call)(id)
        assert caught.value.value == id
        assert root.which_child("a").state == "running"


async def test_an_unknown_id_of_another_type_is_not_found() -> None:
    """A question about an id that is no text has an answer too."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        with pytest.raises(ChildNotFound, match="root/7"):
            root.which_child(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("exit", ["bad", None, ValueError("x")])
async def test_a_stop_with_something_that_is_no_exit_is_the_callers_fault(exit: Any) -> None:
    """At the root and below it: the call raises, nothing is stopped, and a right call stops it afterwards."""
    play, seen = Play(), []
    root = Supervisor("root", [ChildSpec("s", subtree([play.child("a")])), play.child("b")])
    async with root:
        for ref in (root, root.supervisor("s")):
            with pytest.raises(InvalidField) as caught:
                ref.stop(exit)
            assert (caught.value.field, caught.value.value, caught.value.where) == ("exit", exit, "/".join(ref.path))
        seen.append([child.state for child in root.which_children()])
        root.stop(Exit.normal())
        await play.rest()
    assert seen == [["running", "running"]]
    assert root.exit == Exit.normal()


class Wrong:
    """A launch that gives no Exit."""

    type = ChildType.WORKER
    kill_timeout = 1.0
    pid = None

    def launch(self, ticket: Ticket) -> Any:
        ticket.started()
        ticket.exited("gone")  # type: ignore[arg-type]
        return self

    def terminate(self) -> None:
        """Not reached: it has ended."""

    kill = terminate

    def describe(self) -> dict[str, Any]:
        return {}


async def test_what_a_launch_reports_instead_of_an_exit_is_a_failure() -> None:
    """The child has ended, however its launch says so, and everybody hears of it as of any failure."""
    exits = []
    root = Supervisor("root", [ChildSpec("s", subtree([ChildSpec("a", Wrong(), restart=Restart.TEMPORARY)]))])
    root.add_sink(lambda record: exits.append(record.event.exit) if isinstance(record.event, ChildExited) else None)
    async with root:
        assert root.supervisor("s").which_children() == ()
    assert [(exit.kind, type(exit.exception)) for exit in exits[:1]] == [(ExitKind.ABNORMAL, TypeError)]
    assert exits[0].reason == "TypeError: its launch reported 'gone' as its end, and that is no Exit"
