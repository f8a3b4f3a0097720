"""The agents of a run: what each one gets before it runs, and gives back when it is no longer one of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from supervisor import Fault, ProcessId, UsageError, cgroup_directories, raise_descriptor_limit, run_token

from .config import Agent
from .config.likeness import may_be_claude
from .config.run import free_name
from .degradation.adapter import FileAdapter, LeafAdapter, mode_file, signal_number
from .guardian import leaf_of
from .ledger import Leaf, Ledger
from .state.files import StateWriteFailed, project_key
from .state.lock import remove_free
from .state.protection import ProtectionRecord, ProtectionUnreadable
from .state.runs import LOCK, SWEEPING, NameInUse, RunClaim, claim
from .state.sweeping import sweep_abandoned

if TYPE_CHECKING:
    from .claude.hook_pipe import HookPipe
    from .claude.stream import ClaudeStream

DESCRIPTORS: Final = 11
"""That one agent takes: its locks, its process, what is read and waited for of its memory, and what its start and its end take beside."""
PIPES: Final = 4
"""Descriptors more of one that is talked to in lines."""
SPARE: Final = 256
"""Descriptors for everything else."""


class Roster:
    """Enrols agents and dismisses them; owned by the run, which closes it.

    Args:
        ledger: Gets the leaves.
        say: Tells a person what cannot be had and is done without.
        directory: For mode files; None where there are none.
        relays: Whether somebody passes on the run's own standard input and output.

    Attributes:
        hooks: What agents tell of their turns by; None while none does.
        relays: As given.
        swept: Processes that abandoned runs of the same names had left, and that were killed.
    """

    def __init__(self, ledger: Ledger, say: Callable[[str], None], directory: Path | None = None, *, relays: bool = False) -> None:
        self._ledger, self._say, self._directory = ledger, say, directory
        self._one_by_one = anyio.Lock()
        self._looked_through: set[str] = set()
        self._swept_locks = False
        self.hooks: HookPipe | None = None
        self.relays = relays
        self.swept: list[ProcessId] = []

    async def enrol(self, agent: Agent, configured: str | None = None, stream: ClaudeStream | None = None) -> Leaf:
        """Take a name for an agent, end what a run of that name left behind whose guardian died, and make its leaf.

        Args:
            agent: The agent. A derived name that is in use gets a number.
            configured: What it is called in the configuration; None when that does not know it.
            stream: What a program in this process talks to it by; None for its own input and output.

        Raises:
            UsageError: A name given by hand is in use, or the state directory cannot be used.

        **Cancellation:** gives back what was taken.
        """
        async with self._one_by_one:
            pipes = PIPES * (sum(leaf.stream is not None for leaf in self._ledger.leaves) + (stream is not None))
            raise_descriptor_limit(SPARE + DESCRIPTORS * (len(self._ledger.leaves) + 1) + pipes)
            with ExitStack() as taken:
                held, named = await self._claimed(agent, taken)
                leaf = leaf_of(self._ledger.run, named)
                leaf.claim, leaf.configured, leaf.stream = held, configured, stream
                if self._ledger.shared is not None:
                    leaf.path = leaf.path[:-1]  # no supervisor of its own is between
                leaf.has_terminal = configured is not None and not self._ledger.leaves
                self._equip(leaf)
                taken.pop_all()
            self._ledger.leaves = [*self._ledger.leaves, leaf]
        return leaf

    def dismiss(self, leaf: Leaf) -> None:
        """Forget an agent: what its restart protection has spent is written down, the rest is given back. May be called again."""
        self._ledger.part(leaf)
        self._give_back(leaf)

    def close(self) -> None:
        """The run is over, for everybody."""
        for leaf in self._ledger.leaves:
            self._give_back(leaf)
        if self.hooks is not None:
            self.hooks.close()

    def _give_back(self, leaf: Leaf) -> None:
        if leaf.record is not None and leaf.is_unkept:
            with suppress(StateWriteFailed):  # said before, or nobody is left to be told
                leaf.record.save(self._ledger.spent(leaf))
        leaf.record = None
        if leaf.adapter is not None:
            leaf.adapter.close()
        leaf.adapter = None
        if leaf.claim is not None:
            leaf.claim.close()
        leaf.claim = None

    async def _claimed(self, agent: Agent, taken: ExitStack) -> tuple[RunClaim | None, Agent]:
        """A claim on a name that no other agent of this run has, whatever project that is of."""
        run, names = self._ledger.run, {leaf.name for leaf in self._ledger.leaves}
        if agent.name in names and agent.name_given:
            raise UsageError([Fault("command.name", f"an agent of this run is called {agent.name!r} already; choose another name")])
        name = agent.name if agent.name not in names else free_name(agent.command.argv, names)
        if not run.config.persist_state:
            return None, attrs.evolve(agent, name=name)
        key = project_key(agent.command.working_directory)
        try:
            held = await self._taken(key, name, agent.name_given)
            while held.name in names:  # the next free one of this project is that of an agent of ours in another
                names.add(name)
                held.close()
                name = free_name(agent.command.argv, names)
                held = claim(run.state_dir, key, name)
            taken.enter_context(held)
            if not run.dry_run:
                # once a project: each look at all of its names would make a start of many agents a matter of their square
                others = key not in self._looked_through
                for left in await sweep_abandoned(run.state_dir, key, held, others=others):
                    self.swept += left.killed
                self._looked_through.add(key)
            # from before the first process on: what we leave behind if we are killed at once is found by this
            held.record(markers=(run_token(),), cgroups=cgroup_directories())
        except NameInUse as error:
            raise UsageError([Fault("command.name", str(error))]) from error
        except StateWriteFailed as error:
            raise UsageError([Fault("guardian.state_dir", str(error))]) from error
        return held, attrs.evolve(agent, name=held.name)

    async def _taken(self, key: str, name: str, given: bool) -> RunClaim:
        """Wait as `claim` does, while everybody else goes on."""
        until = anyio.current_time() + SWEEPING
        while True:
            try:
                return claim(self._ledger.run.state_dir, key, name, given, patience=0.0)
            except NameInUse as error:
                if error.pid is not None or not given or anyio.current_time() >= until:
                    raise
            await anyio.sleep(0.01)

    def _equip(self, leaf: Leaf) -> None:
        """What restart protection has spent in earlier runs, and what tells the leaf of its mode."""
        ledger, run = self._ledger, self._ledger.run
        if run.dry_run:
            return
        if leaf.claim is not None and ledger.shared is None:
            leaf.record = ProtectionRecord(run.state_dir, project_key(leaf.agent.command.working_directory), leaf.claim.name)
            try:
                leaf.spent = leaf.kept = leaf.record.load()
            except ProtectionUnreadable as error:
                self._say(f"memory-guardian: {leaf.name}: {error}")
        leaf.adapter = self._mode_of(leaf)
        if may_be_claude(leaf.agent.command):
            from .claude.equipment import equipped, lock_directory  # here: of other commands there is nothing to know

            if not self._swept_locks:
                self._swept_locks = True
                remove_free(lock_directory(), LOCK)
            leaf.adapter = equipped(self, ledger, leaf, self._directory) or leaf.adapter

    def _mode_of(self, leaf: Leaf) -> LeafAdapter | None:
        if self._directory is None or not self._ledger.watches:
            return None
        try:
            file, signum = mode_file(self._directory, leaf.name), signal_number(leaf.agent.degradation.signal)
            return FileAdapter(file, partial(self._ledger.process, leaf), signum)
        except StateWriteFailed as error:
            self._say(f"memory-guardian: {leaf.name}: no mode file: {error}")
            return None
