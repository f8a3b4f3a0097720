"""The configuration's classes: one per table of the file, made in Python or from a file by the same rules."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import pairwise
from typing import Final

import attrs

from supervisor import (
    ConfigSection,
    Size,
    Value,
    boolean,
    config_key,
    config_platforms,
    config_table,
    config_tables,
    integer,
    number,
    seconds,
    size,
    text,
    variables,
    word,
    words,
)

from ..policy.pressure import Intervals
from .mpm import MpmConfig

LONGEST_NAME: Final = 64


class LeafRestart(Enum):
    """Which ends of the command are followed by a new start: crashes, every failure, every end, none."""

    CRASH = "crash"
    FAILURE = "failure"
    ALWAYS = "always"
    NEVER = "never"


class Isolation(Enum):
    """Where a worker runs: as a task of the guardian, or in a process of its own."""

    TASK = "task"
    PROCESS = "process"


class ClaudeEvents(Enum):
    """Which of Claude Code's own hooks are events: none, those of turns, those and each use of a tool."""

    OFF = "off"
    TURNS = "turns"
    TOOLS = "tools"


_WAYS: Final = "spawn, fd, notify or line:REGEX"


def _ready(value: str) -> str | None:
    if value in ("spawn", "fd", "notify"):
        return None
    if not value.startswith("line:"):
        return f"expected {_WAYS}, got {value[:60]!r}"
    try:
        re.compile(value.removeprefix("line:"))
    except re.error as error:
        return f"expected a regular expression after line:, got {value[5:65]!r} ({error})"
    return None


def _signal(value: str) -> str | None:
    if not value or (value in signal.Signals.__members__ and value not in ("SIGKILL", "SIGSTOP")):
        return None
    return f"expected the name of a signal that a program can handle, such as SIGUSR1, got {value[:60]!r}"


_PLACES: Final = "keyring, keyring:NAME, file:PATH or env:VARIABLE"


def _key_place(value: str) -> str | None:
    kind, colon, name = value.partition(":")
    named = bool(name.strip()) or (kind == "keyring" and not colon)
    if value and not (kind in ("keyring", "file", "env") and named):
        # not shown: it may be the key itself
        return f"expected {_PLACES}, got something else (a key itself is never written here)"
    if kind == "env" and name.startswith("MEMORY_GUARDIAN_"):
        return "expected a variable whose name does not begin with MEMORY_GUARDIAN_, which are settings"
    return None


def illegal_name(name: str) -> str | None:
    """What is wrong with an agent's name, or None: it is a path's part and a file's name."""
    if not name or name != name.strip():
        return f"expected a name without blanks around it, got {name[:60]!r}"
    if len(name) > LONGEST_NAME or not name.isprintable() or len(name.encode()) > 200:
        return f"expected a name of at most {LONGEST_NAME} printable characters, got {name[:60]!r}"
    if "/" in name or os.sep in name or name.startswith("."):
        return f"expected a name without a slash that does not begin with a dot, got {name!r}"
    return None


@attrs.frozen(repr=False, eq=False)
class CommandConfig(ConfigSection):
    """``[command]``: what to run. `name` is None when nobody gave one; it is then derived from the command."""

    argv: tuple[str, ...] = config_key(words(empty=False, first="command"), ("claude",))
    env: Mapping[str, str] = config_key(variables(), {})
    working_directory: str = config_key(text(empty=False), ".")
    name: str | None = config_key(text(check=illegal_name), None, own=True)
    restart: LeafRestart = config_key(word(LeafRestart), LeafRestart.CRASH)
    ready: str = config_key(text(check=_ready, expected=_WAYS), "spawn")
    start_timeout: float = config_key(seconds(above=True), 30.0)
    watchdog: float = config_key(seconds(), 0.0)
    adopt: bool = config_key(boolean(), False)


@attrs.frozen(repr=False, eq=False)
class MemoryThresholds(ConfigSection):
    """``[thresholds]``: as they were given; None is not given. `resolve` makes bytes of them."""

    warning: Size | None = config_key(size(), None)
    critical: Size | None = config_key(size(), None)
    emergency: Size | None = config_key(size(), None)


@attrs.frozen(repr=False, eq=False)
class RestartPolicy(ConfigSection):
    """``[restart]``: restart protection, and how a leaf is stopped. Times in seconds."""

    max_attempts: int = config_key(integer(1, 1_000_000), 3)
    attempt_window: float = config_key(seconds(above=True), 3600.0)
    initial_cooldown: float = config_key(seconds(), 30.0)
    max_cooldown: float = config_key(seconds(), 300.0)
    cooldown_multiplier: float = config_key(number(1.0, 1e6), 2.0)
    graceful_timeout: float = config_key(seconds(), 30.0)
    force_kill_timeout: float = config_key(seconds(above=True), 10.0)
    circuit_failures: int = config_key(integer(1, 1_000_000), 3)
    circuit_reset: float = config_key(seconds(above=True), 1800.0)
    stability_period: float = config_key(seconds(), 30.0)
    ineffective_window: float = config_key(seconds(), 300.0)
    continue_prompt: str = config_key(text(), "")
    end_tools: bool = config_key(boolean(), True)
    tool_timeout: float = config_key(seconds(), 5.0)

    def clashes(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """The first cooldown is no longer than the longest."""
        if self.initial_cooldown > self.max_cooldown:
            message = f"initial_cooldown ({self.initial_cooldown:g}) must not be above max_cooldown ({self.max_cooldown:g})"
            yield ("initial_cooldown", "max_cooldown"), message


@attrs.frozen(repr=False, eq=False)
class MonitoringConfig(ConfigSection):
    """``[monitoring]``: how often to look, and how long to wait. Times in seconds."""

    normal_interval: float = config_key(seconds(0.01), 30.0)
    warning_interval: float = config_key(seconds(0.01), 15.0)
    critical_interval: float = config_key(seconds(0.01), 5.0)
    emergency_interval: float = config_key(seconds(0.01), 1.0)
    critical_samples: int = config_key(integer(1, 1_000_000), 3)
    critical_grace: float = config_key(seconds(), 120.0)
    capture_timeout: float = config_key(seconds(above=True), 10.0)
    emergency_capture_timeout: float = config_key(seconds(above=True), 2.0)
    host_reserve: Size = config_key(size(zero=True), Size(ratio=0.05))
    prediction_horizon: float = config_key(seconds(), 120.0)
    blind_restart_after: float = config_key(seconds(), 0.0)
    restarts_at_once: int = config_key(integer(0, 1_000_000), 1)

    def intervals(self) -> Intervals:
        """The intervals by level; a worse level is never looked at less often than a better one."""
        normal = self.normal_interval
        warning = min(normal, self.warning_interval)
        critical = min(warning, self.critical_interval)
        emergency = min(critical, self.emergency_interval)
        return Intervals(normal, warning, critical, emergency, minimum=min(0.1, emergency))


@attrs.frozen(repr=False, eq=False)
class WorkersConfig(ConfigSection):
    """``[workers]``."""

    isolation: Isolation = config_key(word(Isolation), Isolation.TASK)


@attrs.frozen(repr=False, eq=False)
class HooksConfig(ConfigSection):
    """``[hooks]``: argvs that get JSON on their standard input, each event or a conversation to summarize; empty is none."""

    on_event: tuple[str, ...] = config_key(words(first="command"), ())
    timeout: float = config_key(seconds(above=True), 10.0)
    concurrency: int = config_key(integer(1, 64), 1)
    summarizer: tuple[str, ...] = config_key(words(first="command"), ())
    summarizer_timeout: float = config_key(seconds(above=True), 30.0)
    claude_code: ClaudeEvents = config_key(word(ClaudeEvents), ClaudeEvents.TURNS)


@attrs.frozen(repr=False, eq=False)
class NotificationsConfig(ConfigSection):
    """``[notifications]``: how a person is told beside the terminal."""

    desktop: bool = config_key(boolean(), True)


@attrs.frozen(repr=False, eq=False)
class DegradationConfig(ConfigSection):
    """``[degradation]``: how a mode is left, and how a leaf hears of it. An empty `signal` is none."""

    mode_cooldown: float = config_key(seconds(), 60.0)
    signal: str = config_key(text(check=_signal), "")


@attrs.frozen(repr=False, eq=False)
class HealthConfig(ConfigSection):
    """``[health]``: what is too much for the host. Shares are ratios; an `interval` of 0 looks at nothing."""

    interval: float = config_key(seconds(), 30.0)
    cpu: float = config_key(number(0.0, 1.0, above=True, of="a ratio"), 0.80)
    memory: float = config_key(number(0.0, 1.0, above=True, of="a ratio"), 0.90)
    disk: float = config_key(number(0.0, 1.0, above=True, of="a ratio"), 0.90)
    disk_free: Size = config_key(size(zero=True), Size(amount_bytes=1 << 30))
    open_files: float = config_key(number(0.0, 1.0, above=True, of="a ratio"), 0.80)
    threads: float = config_key(number(0.0, 1.0, above=True, of="a ratio"), 0.80)
    host_warning: Size = config_key(size(zero=True), Size(ratio=0.20))
    host_critical: Size = config_key(size(zero=True), Size(ratio=0.15))
    host_emergency: Size = config_key(size(zero=True), Size(ratio=0.10))

    def clashes(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """The levels of the host are in order, as far as they can be compared; free space is a number of bytes."""
        if self.disk_free.amount_bytes is None:
            yield ("disk_free",), f"disk_free ({self.disk_free}) must be a size such as 1GiB: disks differ"
        names = ("host_warning", "host_critical", "host_emergency")
        for above, below in pairwise(names):
            first, second = getattr(self, above), getattr(self, below)
            for unit in ("ratio", "amount_bytes"):
                values = getattr(first, unit), getattr(second, unit)
                if None not in values and values[0] < values[1]:
                    yield (above, below), f"{below} ({second}) must not be above {above} ({first})"


@attrs.frozen(repr=False, eq=False)
class EncryptionConfig(ConfigSection):
    """``[encryption]``: where the keys are with which state on disk is encrypted; an empty `key` encrypts nothing."""

    key: str = config_key(text(check=_key_place, expected=_PLACES), "")


@attrs.frozen(repr=False, eq=False)
class StateConfig(ConfigSection):
    """``[state]``: how long captured states of a project are kept; 0 is no limit. The last good one of an agent is kept in any case."""

    max_age_days: float = config_key(number(0.0, 3660.0, of="days"), 7.0)
    max_states: int = config_key(integer(0, 1_000_000), 100)
    max_size: Size = config_key(size(zero=True), Size(amount_bytes=1 << 30))

    def clashes(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What states may take is a number of bytes."""
        if self.max_size.amount_bytes is None:
            yield ("max_size",), f"max_size ({self.max_size}) must be a size such as 1GiB: disks differ"


@attrs.frozen(repr=False, eq=False)
class AgentConfig(ConfigSection):
    """One of ``[[agents]]``: its own keys over those of the file."""

    command: CommandConfig = config_table(CommandConfig, "command")
    thresholds: MemoryThresholds = config_table(MemoryThresholds, "thresholds")
    restart_policy: RestartPolicy = config_table(RestartPolicy, "restart")
    degradation: DegradationConfig = config_table(DegradationConfig, "degradation")


@attrs.frozen(repr=False, eq=False)
class PlatformOverrides(Value):
    """``[platform.*]``: what the file says for each platform, by table and key; the one that applies is merged already."""

    linux: Mapping[str, Mapping[str, object]] = attrs.field(factory=dict)
    macos: Mapping[str, Mapping[str, object]] = attrs.field(factory=dict)
    windows: Mapping[str, Mapping[str, object]] = attrs.field(factory=dict)


@attrs.frozen(repr=False, eq=False)
class MemoryGuardianConfig(ConfigSection):
    """The whole configuration. `state_dir` None is the platform's own place for state."""

    enabled: bool = config_key(boolean(), True, table="guardian")
    auto_start: bool = config_key(boolean(), True, table="guardian")
    persist_state: bool = config_key(boolean(), True, table="guardian")
    state_dir: str | None = config_key(text(empty=False), None, table="guardian")
    command: CommandConfig = config_table(CommandConfig, "command")
    thresholds: MemoryThresholds = config_table(MemoryThresholds, "thresholds")
    restart_policy: RestartPolicy = config_table(RestartPolicy, "restart")
    monitoring: MonitoringConfig = config_table(MonitoringConfig, "monitoring")
    workers: WorkersConfig = config_table(WorkersConfig, "workers")
    hooks: HooksConfig = config_table(HooksConfig, "hooks")
    health: HealthConfig = config_table(HealthConfig, "health")
    degradation: DegradationConfig = config_table(DegradationConfig, "degradation")
    notifications: NotificationsConfig = config_table(NotificationsConfig, "notifications")
    encryption: EncryptionConfig = config_table(EncryptionConfig, "encryption")
    state: StateConfig = config_table(StateConfig, "state")
    mpm: MpmConfig = config_table(MpmConfig, "mpm")
    agents: tuple[AgentConfig, ...] = config_tables(AgentConfig, "agents")
    platform_overrides: PlatformOverrides = config_platforms(PlatformOverrides, "platform")
