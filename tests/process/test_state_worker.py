"""The worker that captures, in a running guardian: what it keeps, what it removes, what it says."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import anyio
import attrs
import pytest

from workers.config import EncryptionConfig, StateConfig
from workers.event import CaptureFailed, StateCaptured
from workers.event_state import StatesPruned
from workers.ledger import CaptureRequest
from workers.state.keys import Keys
from workers.state.seal import KeySeal
from workers.state.store import StateStore

from .guardian_inside import Inside, inside

pytestmark = pytest.mark.anyio


async def captured(run: Inside) -> bool:
    """Capture, and wait until that is over; returns whether there is a state."""
    request = CaptureRequest(run.leaf, "to keep")
    run.ledger.captures.put(request)
    with anyio.fail_after(20):
        await request.done.wait()
    return request.ok


async def test_after_a_capture_goes_what_is_not_to_be_kept(tmp_path: Path) -> None:
    """By the configuration as it is then; the event says which, and the newest stays."""
    async with inside(tmp_path, "stay") as run:
        run.ledger.run = attrs.evolve(run.ledger.run, config=attrs.evolve(run.ledger.run.config, state=StateConfig(max_states=1)))
        assert await captured(run) and await captured(run)
        first, second = [event.state_id for event in run.of(StateCaptured)]
        pruned = await run.wait(StatesPruned)
        assert (pruned.path, pruned.removed, pruned.failed) == (run.leaf.path, (first,), ())
        assert pruned.freed_bytes > 0
        (path,) = StateStore(tmp_path / "state").list(tmp_path)
        assert path.name.startswith(second)


async def test_what_is_captured_is_encrypted_where_that_is_configured(tmp_path: Path) -> None:
    """With the configured key; without it nothing is written plainly instead: the capture fails, and what was there stays."""
    key, place = bytes(range(32)), tmp_path / "key of a test"
    place.write_bytes(base64.b64encode(key))
    place.chmod(0o600)
    async with inside(tmp_path, "stay") as run:
        config = attrs.evolve(run.ledger.run.config, encryption=EncryptionConfig(f"file:{place}"))
        run.ledger.run = attrs.evolve(run.ledger.run, config=config)
        assert await captured(run)
        (path,) = StateStore(tmp_path / "state").list(tmp_path)
        assert path.name.endswith(".enc")
        assert StateStore(tmp_path / "state", KeySeal(Keys((key,)))).load(path).restart.reason == "to keep"
        place.unlink()
        before = path.read_bytes()
        assert not await captured(run)
        assert "key of a test" in run.of(CaptureFailed)[-1].cause
        assert os.listdir(path.parent).count(path.name) == 1 and path.read_bytes() == before
        assert StateStore(tmp_path / "state").list(tmp_path) == (path,)
