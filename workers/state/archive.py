"""What captures, in a process of its own: its memory and its work are not the guardian's, nor is its end.

It serves orders (messages.py), each for itself, and folds what is left of long conversations while nobody waits for anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from supervisor import serve

from ..config import EncryptionConfig
from .capture import capture
from .files import StateWriteFailed, project_key
from .following import Conversations
from .keys import KeyUnavailable
from .looking import Seen
from .messages import Captured, CaptureOrder, Fault, Place, PruneOrder, Removed
from .model import StateInvalid
from .retention import prune, retention_of
from .seal import seal_of
from .store import StateStore

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import TaskStatus

    from .following import Followed


async def archive(*, task_status: TaskStatus[None]) -> None:
    """Serve ``capture``, ``prune`` and ``alive``, until cancelled.

    **Cancellation:** ends when what was ordered is done; nothing new is begun.
    """
    own = Archive()
    serve("capture", own.capture)
    serve("prune", own.prune)
    serve("alive", own.alive)
    task_status.started()
    try:
        await own.tend()
    finally:
        with anyio.CancelScope(shield=True):
            await own.quiet()


class Archive:
    """Captures and prunes. Each call may come at any time, also while others last."""

    def __init__(self) -> None:
        self._conversations = Conversations()
        self._orders = 0
        self._changed = anyio.Event()

    def alive(self) -> None:
        """Answer, which an event loop that hangs does not."""

    async def capture(self, order: CaptureOrder) -> Captured:
        """Capture a leaf; what cannot be had or written is part of the answer.

        **Cancellation:** ends git and leaves; what is being written is whole, or is not there.
        """
        self._orders += 1
        try:
            return await self._capture(order)
        except (KeyUnavailable, StateWriteFailed, StateInvalid, OSError) as error:
            return Captured(cause=str(error))
        finally:
            self._done()

    async def _capture(self, order: CaptureOrder) -> Captured:
        place = order.place
        store = await anyio.to_thread.run_sync(store_of, place) if place.key else store_of(place)
        key = project_key(order.place.project)
        faults: tuple[Fault, ...] = ()

        def follow(seen: Seen) -> Followed:
            nonlocal faults
            followed = self._conversations.follow(store, key, order.subject, seen, order.fold_limit)
            faults = followed.faults
            return followed

        state = await capture(
            order.subject, order.reason, attempt=order.attempt, history=order.history, git_limit=order.git_limit, follow=follow
        )

        def save() -> Path:
            return store.save(order.place.project, state)

        return Captured(state.metadata.state_id, str(await anyio.to_thread.run_sync(save)), faults=faults)

    async def prune(self, order: PruneOrder) -> Removed:
        """Remove what is not to be kept any longer; what cannot be removed is part of the answer.

        **Cancellation:** after what is being removed.
        """
        self._orders += 1
        key, retention = project_key(order.place.project), retention_of(order.kept)
        try:
            done = await anyio.to_thread.run_sync(lambda: prune(store_of(order.place), key, retention))
        except (KeyUnavailable, OSError) as error:
            return Removed(failed=(str(error),))
        finally:
            self._done()
        return Removed(tuple(entry.state_id for entry, _ in done.removed), done.freed_bytes, tuple(map(str, done.failed)))

    def _done(self) -> None:
        self._orders -= 1
        self._changed.set()

    async def tend(self) -> None:
        """Fold what captures had no time for, whenever nothing is ordered. Never returns.

        **Cancellation:** after the piece that is being folded.
        """
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            while not self._orders and self._conversations.is_behind:
                await anyio.to_thread.run_sync(self._conversations.catch_up)

    async def quiet(self) -> None:
        """Wait until nothing is ordered.

        **Cancellation:** at any time, without effect.
        """
        while self._orders:
            await self._changed.wait()
            self._changed = anyio.Event()


def store_of(place: Place) -> StateStore:
    """Where states are kept, encrypted where that is configured. Blocks: a keyring may be asked.

    Raises:
        KeyUnavailable: There is no key where the configuration says.
    """
    return StateStore(place.state_dir, seal_of(EncryptionConfig(place.key)))
