"""The queue of restarts: how many at once, and who first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.policy.queue import UNLIMITED, RestartQueue, Waiting, admit, join, leave

one = st.builds(Waiting, st.integers(0, 12), st.integers(0, 4), st.booleans())
steps = st.lists(st.one_of(one, st.integers(0, 12), st.none()), max_size=40)


def queue_of(*waiting: Waiting) -> RestartQueue:
    """A queue in which those wait."""
    queue = RestartQueue()
    for each in waiting:
        queue = join(queue, each)
    return queue


def test_the_largest_goes_first() -> None:
    """Of those that wait, one after the other; of two that weigh the same the one that came first."""
    queue = queue_of(Waiting(1, 10), Waiting(2, 30), Waiting(3, 20), Waiting(4, 30))
    order = []
    while queue.waiting:
        queue, (number,) = admit(queue, 1)
        assert admit(queue, 1) == (queue, ())
        order.append(number)
        queue = leave(queue, number)
    assert order == [2, 4, 3, 1]


def test_an_urgent_one_waits_for_nobody() -> None:
    """It goes before larger ones and beyond the limit, and then takes room from those that can wait."""
    queue, going = admit(queue_of(Waiting(1, 10), Waiting(2, 5)), 1)
    assert going == (1,)
    queue, going = admit(join(queue, Waiting(3, 1, urgent=True)), 1)
    assert going == (3,)
    queue, going = admit(leave(queue, 1), 1)
    assert going == ()
    assert admit(leave(queue, 3), 1)[1] == (2,)


def test_what_waits_can_become_urgent_and_can_leave() -> None:
    """The same number has one place; what left is not admitted."""
    queue, _ = admit(queue_of(Waiting(1)), 1)
    queue = join(join(join(queue, Waiting(2, 9)), Waiting(3, 1)), Waiting(3, 1, urgent=True))
    assert [each.number for each in queue.waiting] == [3, 2]
    assert admit(leave(queue, 3), 1)[1] == ()


def test_no_limit_lets_all_go() -> None:
    """0 is any number."""
    assert admit(queue_of(Waiting(1), Waiting(2, 7), Waiting(3)), UNLIMITED)[1] == (2, 1, 3)


@given(steps, st.integers(0, 3))
def test_whatever_happens_the_limit_holds_and_nobody_is_forgotten(steps: list[Waiting | int | None], at_once: int) -> None:
    """Beyond the limit only urgent ones begin; while there is room nobody waits; everybody who joined waits, is under way or left."""
    queue, known = RestartQueue(), set[int]()
    for step in steps:
        if isinstance(step, Waiting):
            if step.number in queue.under_way:
                continue
            queue = join(queue, step)
            known.add(step.number)
        elif step is not None:
            queue = leave(queue, step)
            known.discard(step)
        else:
            before = queue
            queue, going = admit(before, at_once)
            urgent = [each.number for each in before.waiting if each.urgent]
            assert list(going[: len(urgent)]) == urgent
            assert len(set(going)) == len(going) and not set(going) & before.under_way
            if at_once:
                assert len(going) == len(urgent) or len(queue.under_way) <= at_once
                assert not queue.waiting or len(queue.under_way) >= at_once
            else:
                assert not queue.waiting
            left = [each.total_bytes for each in queue.waiting]
            calm = [each.total_bytes for each in before.waiting if each.number in going and not each.urgent]
            assert not left or not calm or max(left) <= min(calm)
        assert {each.number for each in queue.waiting} | queue.under_way == known
        assert not {each.number for each in queue.waiting} & queue.under_way
