"""What each key of Claude MPM's ``memory_guardian.yaml``, and each of its variables, is in our configuration. Pure.

Three spellings were in use: what its ``run-guarded`` read and its reference described, what its own loader read (and failed on), and
what it saved. All are known here.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from supervisor import Value

Key = tuple[str, str]
"""A table and a key of ours."""


@attrs.frozen(repr=False, eq=False)
class Said(Value):
    """A value, and where it was written: a file and a line, or a variable."""

    value: Any
    place: str


@attrs.frozen(repr=False, eq=False)
class Note(Value):
    """What a person should know of a key: it is nothing here, or not quite what it was."""

    place: str
    key: str
    says: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.says}"


@attrs.frozen(repr=False, eq=False)
class Translation(Value):
    """What a configuration of theirs is in ours.

    Attributes:
        values: By our table and key.
        origins: For each of these, the key of theirs, for a person.
        notes: In the order of the file.
    """

    values: Mapping[Key, Said]
    origins: Mapping[Key, str]
    notes: tuple[Note, ...]


def _none(why: str) -> str:
    return f"no counterpart: {why}"


_EVENTS: Final = _none("each change is an event; status and top say what is now, --events writes it down")
_READERS: Final = _none("the best reader that works is chosen for each leaf, and doctor says which")
_MAIL: Final = _none("hooks.on_event is a command that is run for each event and can send it anywhere")
_FEATURES: Final = _none("processors, memory and disks are always looked at; health.interval = 0 looks at nothing")

KEYS: Final[Mapping[str, Key]] = {
    "enabled": ("guardian", "enabled"),
    "auto_start": ("guardian", "auto_start"),
    "persist_state": ("guardian", "persist_state"),
    **{f"thresholds.{level}{unit}": ("thresholds", level) for level in ("warning", "critical", "emergency") for unit in ("_mb", "")},
    "monitoring.check_interval": ("monitoring", "normal_interval"),
    "monitoring.check_interval_warning": ("monitoring", "warning_interval"),
    "monitoring.check_interval_critical": ("monitoring", "critical_interval"),
    **{f"monitoring.{level}_interval": ("monitoring", f"{level}_interval") for level in ("normal", "warning", "critical")},
    "restart_policy.max_attempts": ("restart", "max_attempts"),
    "restart_policy.attempt_window": ("restart", "attempt_window"),
    "restart_policy.cooldown_base": ("restart", "initial_cooldown"),
    "restart_policy.initial_cooldown": ("restart", "initial_cooldown"),
    "restart_policy.cooldown_max": ("restart", "max_cooldown"),
    "restart_policy.max_cooldown": ("restart", "max_cooldown"),
    "restart_policy.cooldown_multiplier": ("restart", "cooldown_multiplier"),
    "restart_policy.graceful_timeout": ("restart", "graceful_timeout"),
    "restart_policy.force_kill_timeout": ("restart", "force_kill_timeout"),
    "process.env": ("command", "env"),
    "process_env": ("command", "env"),
    "process.working_directory": ("command", "working_directory"),
    "working_directory": ("command", "working_directory"),
    "health_monitoring.cpu_threshold_percent": ("health", "cpu"),
    "health_monitoring.disk_threshold_percent": ("health", "disk"),
    "notifications.enable_desktop_notifications": ("notifications", "desktop"),
}
"""Keys that are one of ours; of two spellings in one file the later row wins."""

PERCENT: Final = {f"thresholds.{level}_percent": level for level in ("warning", "critical", "emergency")}
COMMANDS: Final = ("process.command", "process_command")
ARGUMENTS: Final = ("process.args", "process_args")
RATIOS: Final = frozenset({"health_monitoring.cpu_threshold_percent", "health_monitoring.disk_threshold_percent"})

WITHOUT: Final[Mapping[str, str]] = {
    "state_file": _none("what restart protection has spent, and captured state, are kept for each project in guardian.state_dir"),
    "monitoring.prefer_psutil": _READERS,
    "monitoring.fallback_methods": _READERS,
    "monitoring.log_memory_stats": _EVENTS,
    "monitoring.log_interval": _EVENTS,
    "monitoring.detailed_logging": _EVENTS,
    "platform_overrides.macos_use_activity_monitor": _READERS,
    "platform_overrides.macos_memory_pressure_check": _none("the host's memory is always looked at, see [health]"),
    "platform_overrides.linux_use_proc": _READERS,
    "platform_overrides.linux_check_oom_score": _none("a death by the kernel's OOM killer is always told (oom_killed)"),
    "platform_overrides.windows_use_wmi": _READERS,
    "platform_overrides.windows_use_performance_counter": _READERS,
    "health_monitoring.enable_cpu_monitoring": _FEATURES,
    "health_monitoring.enable_disk_monitoring": _FEATURES,
    "health_monitoring.enable_network_monitoring": _none("nothing is sent to the network, so nothing depends on it"),
    "notifications.enable_email_notifications": _MAIL,
    "notifications.email_recipients": _MAIL,
    "notifications.webhook_url": _MAIL,
}
"""Keys that are nothing here, and why."""

SECTIONS: Final = frozenset(name.partition(".")[0] for name in (*KEYS, *WITHOUT, *PERCENT, *COMMANDS, *ARGUMENTS) if "." in name)

UNLIMITED: Final = 1_000_000
LONGEST_COOLDOWN: Final = 300


def _integer(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return text  # judged as any other value


def _boolean(text: str) -> object:
    return text.strip().lower() == "true"


def _split(text: str) -> object:
    return text.split()


VARIABLES: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "CLAUDE_MPM_MEMORY_WARNING_MB": ("thresholds.warning", _integer),
    "CLAUDE_MPM_MEMORY_CRITICAL_MB": ("thresholds.critical", _integer),
    "CLAUDE_MPM_MEMORY_EMERGENCY_MB": ("thresholds.emergency", _integer),
    "CLAUDE_MPM_RESTART_MAX_ATTEMPTS": ("restart_policy.max_attempts", _integer),
    "CLAUDE_MPM_RESTART_COOLDOWN": ("restart_policy.initial_cooldown", _integer),
    "CLAUDE_MPM_RESTART_WINDOW": ("restart_policy.attempt_window", _integer),
    "CLAUDE_MPM_MONITOR_INTERVAL": ("monitoring.normal_interval", _integer),
    "CLAUDE_MPM_LOG_INTERVAL": ("monitoring.log_interval", _integer),
    "CLAUDE_MPM_DETAILED_LOGGING": ("monitoring.detailed_logging", _boolean),
    "CLAUDE_MPM_MEMORY_GUARDIAN_ENABLED": ("enabled", _boolean),
    "CLAUDE_MPM_AUTO_START": ("auto_start", _boolean),
    "CLAUDE_MPM_PERSIST_STATE": ("persist_state", _boolean),
    "CLAUDE_MPM_PROCESS_COMMAND": ("process_command", _split),
    "CLAUDE_MPM_WORKING_DIRECTORY": ("working_directory", str),
    "CLAUDE_MPM_MACOS_MEMORY_PRESSURE_CHECK": ("platform_overrides.macos_memory_pressure_check", _boolean),
    "CLAUDE_MPM_LINUX_USE_PROC": ("platform_overrides.linux_use_proc", _boolean),
    "CLAUDE_MPM_LINUX_CHECK_OOM_SCORE": ("platform_overrides.linux_check_oom_score", _boolean),
    "CLAUDE_MPM_WINDOWS_USE_WMI": ("platform_overrides.windows_use_wmi", _boolean),
}
"""Its variables: the key that each overrides, and how it is read. An empty one is none."""


def said_by(environ: Mapping[str, str]) -> dict[str, Said]:
    """What its variables say, by its keys."""
    given = ((name, environ.get(name, "")) for name in VARIABLES)
    return {VARIABLES[name][0]: Said(VARIABLES[name][1](text), name) for name, text in given if text}


def said_in(content: Mapping[str, Any], place: str) -> dict[str, Said]:
    """What a mapping in the shape of its file says, by its keys; a section that is none stays what it is.

    Args:
        content: Sections and keys.
        place: What it is called in faults.
    """
    said: dict[str, Said] = {}
    for name, value in content.items():
        if name in SECTIONS and isinstance(value, Mapping):
            said |= {f"{name}.{key}": Said(one, place) for key, one in value.items()}
        elif value is not None or name not in SECTIONS:
            said[str(name)] = Said(value, place)
    return said


def translated(said: Mapping[str, Said]) -> Translation:
    """What was said, in ours.

    Args:
        said: By the key, ``section.key`` within a section; later ones override where two spellings mean the same.

    Returns:
        Values that are still to be judged by our rules, each with the place where it was written.
    """
    values: dict[Key, Said] = {}
    origins: dict[Key, str] = {}
    notes: list[Note] = []
    for name in KEYS:  # in this order: of two spellings the later one wins
        if name in said and said[name].value is not None:
            values[KEYS[name]], origins[KEYS[name]] = _as_ratio(said[name]) if name in RATIOS else said[name], name
    for name, placed in said.items():
        notes += _noted(name, placed)
    for name, level in PERCENT.items():
        share = said.get(name)
        if share is None or share.value is None:
            continue
        if ("thresholds", level) in values:
            notes.append(Note(share.place, name, f"without effect, as there: thresholds.{level} is given"))
        else:
            values["thresholds", level], origins["thresholds", level] = _as_share(share), name
    notes += _command(said, values, origins)
    notes += _limits(values, origins)
    return Translation(values, origins, tuple(notes))


def _noted(name: str, placed: Said) -> Iterator[Note]:
    if name in WITHOUT:
        yield Note(placed.place, name, WITHOUT[name])
    elif name not in KEYS and name not in PERCENT and name not in COMMANDS and name not in ARGUMENTS:
        near = difflib.get_close_matches(name, [*KEYS, *WITHOUT, *PERCENT, *COMMANDS, *ARGUMENTS], n=1, cutoff=0.75)
        yield Note(placed.place, name, f"no key of Memory Guardian's, which ignores it{f' (did you mean {near[0]!r}?)' if near else ''}")


def _as_ratio(placed: Said) -> Said:
    value = placed.value
    return attrs.evolve(placed, value=value / 100) if isinstance(value, int | float) and not isinstance(value, bool) else placed


def _as_share(placed: Said) -> Said:
    value = placed.value
    return attrs.evolve(placed, value=f"{value:.10g}%") if isinstance(value, int | float) and not isinstance(value, bool) else placed


def _command(said: Mapping[str, Said], values: dict[Key, Said], origins: dict[Key, str]) -> Iterator[Note]:
    """The command and its arguments are one list here."""
    program = _last(said, COMMANDS)
    arguments = _last(said, ARGUMENTS)
    if program is None and (arguments is None or not arguments[1].value):
        return
    chosen = program or arguments
    assert chosen is not None
    name, placed = chosen
    words = ["claude"] if program is None else placed.value
    if isinstance(words, str):
        words = _shell_words(words)
    if isinstance(words, list) and words[:1] == ["claude-code"]:
        words = ["claude", *words[1:]]
        yield Note(placed.place, name, "claude-code is no command: claude is run")
    if arguments is not None and isinstance(words, list) and isinstance(arguments[1].value, list):
        words = [*words, *arguments[1].value]
    elif arguments is not None and arguments[1].value is not None and isinstance(words, list):
        words, placed = arguments[1].value, arguments[1]
    values["command", "argv"], origins["command", "argv"] = attrs.evolve(placed, value=words), name


def _shell_words(text: str) -> object:
    try:
        return shlex.split(text)
    except ValueError:
        return text


def _last(said: Mapping[str, Said], names: tuple[str, ...]) -> tuple[str, Said] | None:
    found = [(name, said[name]) for name in names if name in said and said[name].value is not None]
    return found[-1] if found else None


def _limits(values: dict[Key, Said], origins: Mapping[Key, str]) -> Iterator[Note]:
    """What is legal there and not here, though it means something."""
    attempts = values.get(("restart", "max_attempts"))
    if attempts is not None and attempts.value in (0, "0") and attempts.value is not False:
        values["restart", "max_attempts"] = attrs.evolve(attempts, value=UNLIMITED)
        yield Note(attempts.place, origins["restart", "max_attempts"], f"0 is no limit there: {UNLIMITED} restarts")
    first, longest = values.get(("restart", "initial_cooldown")), values.get(("restart", "max_cooldown"))
    bound = LONGEST_COOLDOWN if longest is None else longest.value
    if first is not None and all(isinstance(one, int | float) for one in (first.value, bound)) and first.value > bound:
        values["restart", "initial_cooldown"] = attrs.evolve(first, value=bound)
        yield Note(first.place, origins["restart", "initial_cooldown"], f"no cooldown is longer than the longest: {bound:g} s, as there")
