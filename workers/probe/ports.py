"""What the parts of the probe are to each other; for type checkers, and imported by nobody else.

The sweep sees leaves and their lives through `Desk`, `Watched` and `Life`, wherever those are; it is woken by `Wakes`, which hear of
`Crossings`; and what holds a leaf has its `Cgroup`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from supervisor import ProcessId

from ..policy.pressure import MemoryState, Thresholds
from .choice import ReaderChange
from .reader import MemorySample

if TYPE_CHECKING:
    from .crossings import Word
    from .worker import Watch


class Watched(Protocol):
    """A leaf as the sweep sees it; for the fields see `Leaf`."""

    due: float
    slack: float
    stirred: bool

    @property
    def name(self) -> str:
        """No other leaf has it at the same time."""

    @property
    def level(self) -> MemoryState:
        """What its memory means."""

    @property
    def thresholds(self) -> Thresholds:
        """Where its levels begin."""

    @property
    def is_fresh(self) -> bool:
        """Whether its present life has no level yet."""


class Life(Protocol):
    """One life of a leaf as the sweep sees it."""

    @property
    def leaf(self) -> Watched:
        """Whose."""

    @property
    def root(self) -> ProcessId:
        """The root process."""

    @property
    def memory(self) -> str | None:
        """The directory in which its memory is counted, if there is one."""

    @property
    def has_group(self) -> bool:
        """Whether it has a control group of its own."""

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end."""

    def strays(self) -> Iterable[int]:
        """See `reader.Strays`."""

    def opened(self, reader: str) -> None:
        """It is read from now on, by this reader."""

    def prepare_hold(self) -> None:
        """Have everything ready to hold it, and the kernel hold it at its limit.

        Raises:
            OSError: No descriptors.
        """

    def told(self, taken: MemorySample, *, paused: bool = False) -> None:
        """Its memory was read; `paused` when the kernel says that it stands at its limit."""

    def changed(self, change: ReaderChange) -> None:
        """Another reader than before reads it."""

    def armed(self, events: str) -> None:
        """What tells of its crossings from now on; empty for nothing."""

    def let_end(self) -> None:
        """It was asked to end, so it has to be able to."""

    def close(self) -> None:
        """It is no longer looked at."""


class Desk(Protocol):
    """See the module. Leaves are given back as they were got."""

    @property
    def leaves(self) -> Sequence[Watched]:
        """All that are to be looked at."""

    @property
    def listens(self) -> bool:
        """Whether the kernel's word is wanted at all."""

    @property
    def acts(self) -> bool:
        """Whether anything is done to the leaves, such as to set marks."""

    def parted(self) -> Watched | None:
        """One that is no longer there, each once."""

    def pause(self, leaf: Any, now: float) -> float:
        """Seconds from a sample of this leaf to the next."""

    def living(self, leaf: Any) -> Life | None:
        """Its present life, the same object as long as it lasts; None when it does not run."""

    def unread(self, leaf: Any, reason: str) -> None:
        """Its memory cannot be read."""

    def strained(self) -> None:
        """The kernel says that the host is short of memory."""

    def wake(self, at: float) -> None:
        """There is something to do at `at`."""

    async def looked(self, until: float) -> None:
        """Wait for `until`, or less if there is something to do."""

    def let_go(self, now: float) -> float:
        """Release who was to be released and was not; when the next one is due."""


class Wakes(Protocol):
    """What the kernel tells between two sweeps."""

    def opened(self, watch: Watch) -> None:
        """A life is watched."""

    def closed(self, watch: Watch) -> None:
        """It no longer is."""

    def sampled(self, watch: Watch, total_bytes: int, now: float) -> None:
        """Its memory was read."""

    def look(self, now: float) -> float:
        """Do what is due, and say when something will be again."""

    async def run(self) -> None:
        """Wait for the kernel, until cancelled."""

    def close(self) -> None:
        """Give everything back."""


class Crossings(Protocol):
    """Where one leaf's events come from. It is used on the event loop, but for `prepare`."""

    @property
    def name(self) -> str:
        """What tells: ``threshold`` or ``high``."""

    @property
    def mask(self) -> int:
        """The events of epoll that mean something."""

    def charged(self) -> int:
        """Bytes that are charged to the leaf's cgroup now.

        Raises:
            OSError: It cannot be read.
        """

    def prepare(self, charges: Sequence[int]) -> int:
        """Ask to be told of these marks, ascending; may take tens of milliseconds, so call it in a thread.

        Returns:
            A descriptor that nothing else uses yet, for `arm`, or for `os.close`.

        Raises:
            OSError: The kernel does not want to, or there are no descriptors.
        """

    def arm(self, fd: int) -> None:
        """Use these marks from now on, and no longer the ones before."""

    @property
    def fd(self) -> int:
        """What to watch; -1 when no marks are set."""

    def heard(self) -> Word:
        """Something was told: what it means, and be told again."""

    def disarm(self) -> None:
        """No marks."""

    def close(self) -> None:
        """Give back the descriptors. May be called again."""


class Cgroup(Protocol):
    """The cgroup of a life, as `RunningCommand.group` gives it."""

    memory: str | None
    is_frozen: bool

    @property
    def can_freeze(self) -> bool:
        """Whether the kernel can freeze it."""

    def freeze(self) -> bool:
        """Let nothing in it run; whether that can be done."""

    def thaw(self) -> None:
        """Undo that."""
