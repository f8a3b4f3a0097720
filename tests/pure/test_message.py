"""What goes into the machine and what comes out of it."""

from __future__ import annotations

from supervisor.core.exits import Exit
from supervisor.core.message import Acknowledged, Finish, Reply
from supervisor.core.state import Job, Purpose


def test_payloads_are_no_part_of_a_comparison() -> None:
    """What a child acknowledges with may be anything, also something that refuses to be compared; the same for errors."""

    class Incomparable:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise TypeError

    one, other = Incomparable(), Incomparable()
    assert Acknowledged("a", 1, value=one) == Acknowledged("a", 1, value=other)
    assert Reply(1, one, ValueError()) == Reply(1, other, ValueError())
    assert Finish(Exit.normal(), ValueError()) == Finish(Exit.normal(), ValueError())
    assert Job(Purpose.BOOT, (), value=one, error=ValueError()) == Job(Purpose.BOOT, (), value=other, error=ValueError())
    assert Acknowledged("a", 1) != Acknowledged("a", 2)
    assert Reply(1) != Reply(2)
