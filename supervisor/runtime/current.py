"""One life of a child as a value, and which one the running code belongs to."""

from __future__ import annotations

import attrs

from ..core.extra_errors import NotAChild
from ..core.value import Value
from .node import Life
from .ref import SupervisorRef
from .tree import CURRENT


@attrs.frozen(repr=False, eq=False)
class ChildRef(Value):
    """One life of a child in a running tree: the counterpart of a pid. Two are equal if they are of the same life."""

    _life: Life = attrs.field(repr=False)

    def __repr__(self) -> str:
        return f"ChildRef({'/'.join(self.path)}, generation={self.generation})"

    @property
    def id(self) -> str:
        """The child's id."""
        return self._life.id

    @property
    def path(self) -> tuple[str, ...]:
        """The ids from the root down to the child."""
        return self._life.path

    @property
    def generation(self) -> int:
        """The number of this life."""
        return self._life.generation

    @property
    def alive(self) -> bool:
        """Whether this life is not over; one that was given up as unresponsive is."""
        return not self._life.over

    @property
    def supervisor(self) -> SupervisorRef:
        """The supervisor above the child."""
        node = self._life.node
        root = node.tree.root
        assert root is not None  # it is known before any child is
        return SupervisorRef(root.find, node.path)


def current_child() -> ChildRef:
    """The life that the running code belongs to, in a child's own task as well as in the tasks that it starts itself: Erlang's ``self()``.

    Raises:
        NotAChild: It belongs to none, as the body of a supervisor's block.
    """
    life = CURRENT.get(None)
    if life is None:
        raise NotAChild
    return ChildRef(life)


def life_of(child: ChildRef | None) -> Life:
    """The life behind a reference, by default the current one; it may be over.

    Raises:
        NotAChild: There is no current one.
    """
    return (child or current_child())._life
