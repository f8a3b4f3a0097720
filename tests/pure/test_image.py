"""What an image takes from a process that has lost its way."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.core.event import ChildStatus
from supervisor.core.image import EACH, Image
from supervisor.core.intensity import Window
from supervisor.core.mirror import news
from supervisor.core.spec import SupervisorFlags
from supervisor.core.state import initial
from supervisor.core.term import encode
from supervisor.core.wire import Mirrored

from .machine_driver import PATH, child

CIRCUIT: dict[str, Any] = {"!": "supervisor.core.breaker:Circuit", "v": {}}


def said(path: tuple[str, ...] = PATH, rows: list[Any] | None = None, fresh: bool = True, ahead: float = 0.0, **fields: Any) -> Mirrored:
    return Mirrored(path, ahead, rows or [], fields, fresh=fresh)


def take_all(image: Image, messages: list[Mirrored]) -> None:
    for message in messages:
        image.take(message)


def full(id: str = "a", **fields: Any) -> dict[str, Any]:
    """A row, as it is told first."""
    [message] = news(None, initial(PATH, SupervisorFlags(), (child(id),)), 0.0)
    return {**message.rows[0][1], **fields}


@pytest.mark.parametrize(
    "message",
    [
        said(crash=[[0.0], 10, 0, 0.0, {**CIRCUIT, "v": "x"}, {}]),
        said(crash=[["a"], 1, 0, 0.0, CIRCUIT, {}]),
        said(crash=[[], 1, 0, 0.0, CIRCUIT, {}]),
        said(crash=[[1.0, 2.0], 1, 0, 0.0, CIRCUIT, {}]),
        said(crash=[[1.0], 10**30, 0, 0.0, CIRCUIT, {}]),
        said(crash=[[1.0], 1, 0, 0.0, CIRCUIT, {"a": []}]),
        said(crash=5),
        said(positions=True),
        said(lifecycle="running"),
        said(flags=encode(child("a"))),
        said(job=None),
        said(retries=encode((7,))),
        said(retries=encode(((1.0, "nobody"),))),
        said(retries=encode((("a", "a"),)), rows=[["a", full()]]),
        said(ahead=float("nan")),
        said(ahead=float("inf")),
        said(rows=[["a", full(pid=10**30)]]),
        said(rows=[["a", full(generation="1")]]),
        said(rows=[["a", full(exit="x")]]),
        said(rows=[["a", full(), 5]]),
        said(rows=[[["a"], None]]),
        said(rows=[["a", None], ["a", None]]),
        said(rows=[["b", full()]]),
        said(rows=[[str(number), None] for number in range(101)]),
        said(rows=[["a", full(spec=encode(SupervisorFlags()))]]),
        said(fresh=False),
    ],
)
def test_what_makes_no_sense_is_refused(message: Mirrored) -> None:
    """It is a `ValueError`, whatever it is, and nothing is known that was not known before."""
    image = Image()
    with pytest.raises(ValueError, match=r"."):
        image.take(message)
    assert image.states == {}


def test_a_launch_that_could_be_started_is_none_of_a_row() -> None:
    """What comes from elsewhere can be described, not launched."""
    with pytest.raises(ValueError, match="spec is"):
        Image().take(said(rows=[["a", full(spec=encode(child("a")))]]))


def test_a_window_of_any_size_takes_no_room() -> None:
    """Attempts without a time of their own count until the oldest is out of the window."""
    image = Image()
    image.take(said(crash=[[0.0, 5.0], 10**15, 0, 0.0, CIRCUIT, {}]))
    window = image.states[PATH].crash.window
    assert window.size == 10**15
    assert window.pruned(10.0, 10.0) is window
    assert window.pruned(10.0, 12.0).size == 1
    assert window.pruned(10.0, 16.0) == Window()


def test_there_is_an_end_to_supervisors() -> None:
    """Paths that a process invents are refused when they fill an image."""
    image = Image(100 * EACH)
    with pytest.raises(ValueError, match="more supervisors and children"):
        take_all(image, [said((*PATH, str(number))) for number in range(101)])
    assert 90 < len(image.states) < 100


def test_there_is_an_end_to_rows_and_to_what_they_hold() -> None:
    """Rows, long reasons, long states of a command."""
    image = Image(100 * EACH)
    with pytest.raises(ValueError, match="more supervisors and children"):
        take_all(image, [said(rows=[[str(number), full(str(number))]], fresh=not number) for number in range(101)])
    image = Image(100 * EACH)
    image.take(said(rows=[["a", full()]]))
    with pytest.raises(ValueError, match="more supervisors and children"):
        image.hear(ChildStatus((*PATH, "a"), "x" * 100 * EACH))
    with pytest.raises(ValueError, match="more supervisors and children"):
        Image(100 * EACH).take(said(rows=[["a", full(exit=None, spec={**full()["spec"], "x": "y" * 100 * EACH})]]))


def test_what_is_forgotten_gives_its_room_back() -> None:
    """A supervisor whose children come and go, or that starts again and again, is never too large."""
    image = Image(20 * EACH)
    for number in range(100):
        image.take(said(rows=[["a", full()]], fresh=not number % 10))
        image.hear(ChildStatus((*PATH, "a"), "x" * 5 * EACH))
        image.take(said((*PATH, "below")))
        image.take(said((*PATH, "below"), fresh=False, lifecycle=encode(_finished())))
        image.take(said(rows=[["a", None]], fresh=False))
    image.take(said(fresh=False, lifecycle=encode(_finished())))
    assert image.states == {} and image._sizes == {} and image._room == 20 * EACH


def _finished() -> Any:
    from supervisor.core.state import Lifecycle

    return Lifecycle.FINISHED
