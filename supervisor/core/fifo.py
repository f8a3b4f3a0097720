"""A persistent first-in-first-out queue: every change is a new value, amortised constant time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    T = TypeVar("T")

    class Queue(Generic[T]):
        """The types of ``rpds.Queue``; the stubs that come with it describe another interface."""

        def __init__(self, items: Iterable[T] = ()) -> None: ...
        def __iter__(self) -> Iterator[T]: ...
        def __len__(self) -> int: ...
        def enqueue(self, item: T) -> Queue[T]:
            """With one more at the end."""

        def dequeue(self) -> Queue[T]:
            """Without the oldest."""

        def peek(self) -> T:
            """The oldest."""

        def is_empty(self) -> bool:
            """Whether nothing is in it."""


else:
    from rpds import Queue

__all__ = ["EMPTY_QUEUE", "Queue"]

EMPTY_QUEUE: Final[Queue[Any]] = Queue()
