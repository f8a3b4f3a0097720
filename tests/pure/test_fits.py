"""Whether values hold what their classes declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs
import pytest

from supervisor import ChildExited, ChildStatus, Event, Exit
from supervisor.core.fits import fits, misfit
from supervisor.core.term import ForeignValue, NotPortable, decode, encode

if TYPE_CHECKING:
    from decimal import Decimal


class Quacks(Protocol):
    """What cannot be asked for."""

    def quack(self) -> None: ...


@attrs.frozen
class Base:
    """Declared here, used below."""

    names: tuple[str, ...] = ()


@attrs.frozen
class Point(Base):
    """Of a user's."""

    x: float = 0.0
    mode: Literal["a", 1] = "a"
    table: dict[str, list[int]] | None = None
    price: Decimal | None = None
    near: Point | None = None
    of: Any = None


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, [0, -5], [True, 1.0, "1", 1 << 63, None]),
        (float, [0, 1.5, float("inf")], [True, "1", 10**400]),
        (bool, [True], [1, None]),
        (int | None, [None, 3], ["3"]),
        (tuple[str, ...], [(), ("a",)], [["a"], "a", ("a", 1)]),
        (tuple[str, int], [("a", 1)], [("a",), ("a", "b"), ("a", 1, 2)]),
        (list[int], [[], [1]], [(1,), ["1"]]),
        (Sequence[str], [["a"], ("a",)], [[1], 5]),
        (frozenset[int], [frozenset({1})], [{1}]),
        (Mapping[str, int], [{"a": 1}], [{1: 1}, {"a": "b"}, []]),
        (dict[str, Any], [{"a": object()}], [{1: 1}]),
        (Literal["a", 1], ["a", 1], [True, "b"]),
        (Exit, [Exit.normal()], ["exit", ForeignValue("a:b", {})]),
        (Callable[..., Any], [len], [5]),
        (None, [None], [0]),
        (Any, [1, None], []),
        (object, [1, None], []),
        (Quacks, [1], []),
        ("unknown", [1], []),
    ],
)
def test_what_fits_a_type(kind: Any, good: list[Any], bad: list[Any]) -> None:
    """Structure is told in depth; what cannot be told fits."""
    check = fits(kind)
    assert all(map(check, good))
    assert not any(map(check, bad))


def test_numbers_of_others_have_any_length() -> None:
    """A user may count beyond 64 bits; a float must be one."""
    assert fits(int, ours=False)(10**400) and not fits(float, ours=False)(10**400)
    assert fits(Point, ours=False)(ForeignValue("a:b", {}))


def test_the_first_field_that_does_not_hold_what_it_says() -> None:
    """Also one that a base declares; a name for type checkers alone tells nothing."""
    assert misfit(Point(("a",), 1, 1, {"a": [1]}, 5, Point())) is None  # type: ignore[arg-type]
    assert misfit(Point((1,))) == "Point.names is (1,)"  # type: ignore[arg-type]
    assert misfit(Point(near=5)) == "Point.near is 5"  # type: ignore[arg-type]
    assert misfit(ChildStatus(("a",), "x", generation="1")) == "ChildStatus.generation is '1'"  # type: ignore[arg-type]
    assert misfit(ChildExited(("a",), exit="x")) == "ChildExited.exit is 'x'"  # type: ignore[arg-type]
    assert misfit(ChildExited(("a",), exit=Exit.normal(), spec=5)) == "ChildExited.spec is 5"  # type: ignore[arg-type]


def test_neither_end_of_a_border_lets_a_misfit_pass() -> None:
    """Who sends one is told so; what comes as one is refused."""
    with pytest.raises(NotPortable, match=r"Event.path is 5"):
        encode(Event(5))  # type: ignore[arg-type]
    wrong = encode(ChildStatus(("a",), "x"))
    wrong["v"]["status"] = 7
    with pytest.raises(ValueError, match=r"ChildStatus.status is 7"):
        decode(wrong)


def test_an_error_holds_what_its_handlers_rely_on() -> None:
    """Its path is a path, its exit an exit, and it has a text."""
    from supervisor import StartFailed

    good = encode(StartFailed(("a",), Exit.killed()))
    assert isinstance(decode(good), StartFailed)
    for name, value in (("path", 5), ("exit", "x"), ("exits", 7), ("reason", [])):
        with pytest.raises(ValueError, match=f"an error's {name}|can be made"):
            decode({**good, "v": {**good["v"], name: value}})
    with pytest.raises(ValueError, match="is no text"):
        decode({**good, "text": 5})
