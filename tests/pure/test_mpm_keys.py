"""Claude MPM's ``memory_guardian.yaml`` and its variables in our configuration: every key is something, or says why it is nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import Size, UsageError
from supervisor.edge.config import Layout
from workers.config import MemoryGuardianConfig
from workers.mpm.importing import as_toml, imported
from workers.mpm.keys import ARGUMENTS, COMMANDS, KEYS, PERCENT, SECTIONS, VARIABLES, WITHOUT, Said, said_by, translated
from workers.mpm.reading import read_yaml
from workers.mpm.toml import written

yaml = pytest.importorskip("yaml")

SAVED = """
thresholds warning critical emergency warning_mb critical_mb emergency_mb warning_percent critical_percent emergency_percent
restart_policy max_attempts attempt_window initial_cooldown max_cooldown cooldown_multiplier graceful_timeout force_kill_timeout
 cooldown_base cooldown_max
monitoring normal_interval warning_interval critical_interval prefer_psutil fallback_methods log_memory_stats log_interval detailed_logging
 check_interval check_interval_warning check_interval_critical
platform_overrides macos_use_activity_monitor macos_memory_pressure_check linux_use_proc linux_check_oom_score windows_use_wmi
 windows_use_performance_counter
process command args env working_directory
health_monitoring enable_cpu_monitoring enable_disk_monitoring enable_network_monitoring cpu_threshold_percent disk_threshold_percent
notifications enable_desktop_notifications enable_email_notifications email_recipients webhook_url
"""
"""A section and its keys in each line, by the classes, both loaders and the reference of Memory Guardian."""
PLAIN = ["enabled", "auto_start", "persist_state", "state_file", "process_command", "process_args", "process_env", "working_directory"]
EVERY = {*PLAIN} | {
    f"{section}.{key}" for line in SAVED.strip().replace("\n ", " ").splitlines() for section, *keys in [line.split()] for key in keys
}

DEFAULT = """\
enabled: true
auto_start: true
persist_state: true
state_file: ~/.claude-mpm/state/memory_guardian.json
thresholds:
  warning: 14400
  critical: 18000
  emergency: 21600
monitoring:
  check_interval: 31
  check_interval_warning: 16
  check_interval_critical: 6
  log_memory_stats: true
  log_interval: 60
restart_policy:
  max_attempts: 4
  attempt_window: 3601
  cooldown_base: 10
  cooldown_multiplier: 2.5
  cooldown_max: 301
  graceful_timeout: 29
  force_kill_timeout: 11
process:
  command: ["claude"]
  args: []
  env: {}
  working_directory: null
"""
"""What it wrote where there was none, with other numbers."""


def read(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> MemoryGuardianConfig:
    """The configuration that a file of theirs becomes, by way of what is written."""
    file = tmp_path / "memory_guardian.yaml"
    file.write_text(text, encoding="utf-8")
    translation, loaded = imported(str(file), environ or {})
    tables = tomllib.loads(as_toml(file.name, translation, loaded))
    layout = Layout.of(MemoryGuardianConfig)
    assert {(table, key) for table, keys in tables.items() for key in keys} == set(loaded.values)
    for table, keys in tables.items():
        for key, value in keys.items():
            assert layout.tables[table][key].accept(value) == loaded.values[table, key].value
    return loaded.config


def test_every_key_of_theirs_is_known() -> None:
    """None is missing, none is both something and nothing, and what it becomes exists."""
    mapped = {*KEYS, *PERCENT, *COMMANDS, *ARGUMENTS}
    assert mapped | set(WITHOUT) == EVERY
    assert not mapped & set(WITHOUT)
    layout = Layout.of(MemoryGuardianConfig)
    assert all(key in layout.tables[table] for table, key in KEYS.values())
    assert {name for name, _ in VARIABLES.values()} <= EVERY
    assert {"thresholds", "monitoring", "restart_policy", "process", "platform_overrides"} < SECTIONS


def test_the_file_that_it_wrote(tmp_path: Path) -> None:
    """The spelling of its own loader, which failed on it."""
    config = read(tmp_path, DEFAULT)
    mib = 1 << 20
    assert [config.thresholds.warning, config.thresholds.critical, config.thresholds.emergency] == [
        Size(amount_bytes=14400 * mib),
        Size(amount_bytes=18000 * mib),
        Size(amount_bytes=21600 * mib),
    ]
    monitoring, restart = config.monitoring, config.restart_policy
    assert (monitoring.normal_interval, monitoring.warning_interval, monitoring.critical_interval) == (31, 16, 6)
    assert (restart.max_attempts, restart.attempt_window, restart.initial_cooldown, restart.max_cooldown) == (4, 3601, 10, 301)
    assert (restart.cooldown_multiplier, restart.graceful_timeout, restart.force_kill_timeout) == (2.5, 29, 11)
    assert config.command.argv == ("claude",) and config.command.working_directory == "."


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("enabled: false", "enabled", False),
        ("auto_start: false", "auto_start", False),
        ("persist_state: false", "persist_state", False),
        ("thresholds: {critical_mb: 900}", "thresholds.critical", Size(amount_bytes=900 << 20)),
        ("thresholds: {critical_percent: 65.0}", "thresholds.critical", Size(ratio=0.65)),
        ("thresholds: {critical_percent: 65.0, critical: 900}", "thresholds.critical", Size(amount_bytes=900 << 20)),
        ("monitoring: {normal_interval: 7}", "monitoring.normal_interval", 7.0),
        ("monitoring: {check_interval: 9, normal_interval: 7}", "monitoring.normal_interval", 7.0),
        ("monitoring: {warning_interval: 7}", "monitoring.warning_interval", 7.0),
        ("monitoring: {critical_interval: 7}", "monitoring.critical_interval", 7.0),
        ("restart_policy: {max_attempts: 0}", "restart_policy.max_attempts", 1_000_000),
        ("restart_policy: {initial_cooldown: 600}", "restart_policy.initial_cooldown", 300.0),
        ("restart_policy: {initial_cooldown: 600, max_cooldown: 60}", "restart_policy.initial_cooldown", 60.0),
        ("restart_policy: {initial_cooldown: 600, max_cooldown: 900}", "restart_policy.initial_cooldown", 600.0),
        ("process_command: [claude-code]", "command.argv", ("claude",)),
        ("process_command: claude-code --verbose", "command.argv", ("claude", "--verbose")),
        ("process_command: [claude]\nprocess_args: [--model, opus]", "command.argv", ("claude", "--model", "opus")),
        ("process_args: [--model, opus]", "command.argv", ("claude", "--model", "opus")),
        ("process: {command: [a], args: [b]}\nprocess_command: [c]", "command.argv", ("c", "b")),
        ('process_env: {A: "b"}', "command.env", {"A": "b"}),
        ("working_directory: /tmp", "command.working_directory", "/tmp"),
        ("health_monitoring: {cpu_threshold_percent: 75.0}", "health.cpu", 0.75),
        ("health_monitoring: {disk_threshold_percent: 95}", "health.disk", 0.95),
        ("notifications: {enable_desktop_notifications: false}", "notifications.desktop", False),
    ],
)
def test_what_a_key_becomes(tmp_path: Path, text: str, key: str, value: object) -> None:
    """By the means of the file that is written."""
    found: Any = read(tmp_path, text)
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_what_is_nothing_here_says_why(name: str) -> None:
    """Each of them, with its line."""
    translation = translated({name: Said(True, "file:3")})
    assert not translation.values
    (note,) = translation.notes
    assert (note.place, note.key) == ("file:3", name) and note.says.startswith("no counterpart: ") and len(note.says) > 40


def test_what_it_did_not_know_either(tmp_path: Path) -> None:
    """It ignored such keys: they are told with a guess, and are no faults."""
    file = tmp_path / "memory_guardian.yaml"
    file.write_text("thresholds:\n  critical: 900\n\n  emergancy: 1000\nthing: 1\n")
    translation, _ = imported(str(file), {})
    assert [str(note) for note in translation.notes] == [
        f"{file}:4: thresholds.emergancy: no key of Memory Guardian's, which ignores it (did you mean 'thresholds.emergency'?)",
        f"{file}:5: thing: no key of Memory Guardian's, which ignores it",
    ]


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("CLAUDE_MPM_MEMORY_WARNING_MB", "100", ("thresholds", "warning"), 100),
        ("CLAUDE_MPM_MEMORY_CRITICAL_MB", "100", ("thresholds", "critical"), 100),
        ("CLAUDE_MPM_MEMORY_EMERGENCY_MB", "100", ("thresholds", "emergency"), 100),
        ("CLAUDE_MPM_RESTART_MAX_ATTEMPTS", "5", ("restart", "max_attempts"), 5),
        ("CLAUDE_MPM_RESTART_COOLDOWN", "5", ("restart", "initial_cooldown"), 5),
        ("CLAUDE_MPM_RESTART_WINDOW", "5", ("restart", "attempt_window"), 5),
        ("CLAUDE_MPM_MONITOR_INTERVAL", "5", ("monitoring", "normal_interval"), 5),
        ("CLAUDE_MPM_MEMORY_GUARDIAN_ENABLED", "True", ("guardian", "enabled"), True),
        ("CLAUDE_MPM_MEMORY_GUARDIAN_ENABLED", "1", ("guardian", "enabled"), False),
        ("CLAUDE_MPM_AUTO_START", "false", ("guardian", "auto_start"), False),
        ("CLAUDE_MPM_PERSIST_STATE", "false", ("guardian", "persist_state"), False),
        ("CLAUDE_MPM_PROCESS_COMMAND", "claude-code  --verbose", ("command", "argv"), ["claude", "--verbose"]),
        ("CLAUDE_MPM_WORKING_DIRECTORY", "/x", ("command", "working_directory"), "/x"),
    ],
)
def test_their_variables(variable: str, text: str, key: tuple[str, str], value: object) -> None:
    """Each is read as there."""
    translation = translated(said_by({variable: text}))
    assert translation.values[key] == Said(value, variable)
    assert not said_by({variable: ""})


def test_variables_override_the_file(tmp_path: Path) -> None:
    """As its reference has it."""
    environ = {"CLAUDE_MPM_MEMORY_CRITICAL_MB": "15000", "CLAUDE_MPM_MONITOR_INTERVAL": "3"}
    config = read(tmp_path, DEFAULT, environ)
    assert config.thresholds.critical == Size(amount_bytes=15000 << 20)
    assert (config.monitoring.normal_interval, config.monitoring.warning_interval) == (3, 16)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("thresholds:\n  warning: lots\n", "{}:2: thresholds.warning: expected a size"),
        ("a: 1\nthresholds:\n  warning: 500\n  critical: 400\n", "{}:3: thresholds.warning: warning (500 MiB) must be below critical"),
        ("monitoring:\n\n  check_interval: 0\n", "{}:3: monitoring.check_interval: expected seconds >= 0.01"),
        ("restart_policy: 5\n", "{}:1: restart_policy: expected a section with keys"),
        ("restart_policy:\n  cooldown_multiplier: .nan\n", "{}:2: restart_policy.cooldown_multiplier: expected a number"),
        ("restart_policy:\n  max_attempts: false\n", "{}:2: restart_policy.max_attempts: expected an integer >= 1, got false"),
        ("process_command: []\n", "{}:1: process_command: expected a list that begins with a command"),
        ("process_command: 'a \"b'\n", "{}:1: process_command: expected a list of strings"),
        ("process_command: [claude]\nprocess_args: 5\n", "{}:2: process_command: expected a list of strings"),
        ("process_env: {A: 1}\n", "{}:1: process_env: expected a string without NUL characters for 'A', got 1"),
        ("[1, 2]\n", "{}:1: expected keys and sections"),
        ("a: {\nb: [\n", "{}:3: malformed YAML"),
        ("a: !!python/object:os.system {}\n", "{}:1: a: malformed YAML"),
        ("? [1]\n: 2\na: 0000-99-99\n", "{}:3: a: malformed YAML"),
        ("thresholds:\n  <<: 5\n", "{}:2: thresholds: malformed YAML: expected a mapping"),
        ("enabled: true\nx: &a [*a]\n", "{}:2: x: malformed YAML: found unconstructable recursive node"),
    ],
)
def test_faults_name_the_line(tmp_path: Path, text: str, fault: str) -> None:
    """And the key as it is written there."""
    file = tmp_path / "memory_guardian.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        imported(str(file), {})
    assert str(error.value.faults[0]).startswith(fault.format(file)), error.value


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Of the file and of the variables."""
    file = tmp_path / "memory_guardian.yaml"
    file.write_text("thresholds:\n  warning: lots\nmonitoring:\n  check_interval: -1\n")
    with pytest.raises(UsageError) as error:
        imported(str(file), {"CLAUDE_MPM_RESTART_COOLDOWN": "soon"})
    assert len(error.value.faults) == 3


def test_a_fault_of_structure_hides_no_other(tmp_path: Path) -> None:
    """Sections that are none, values that no YAML is, wrong values and variables: all that can be found, each with its line."""
    file = tmp_path / "memory_guardian.yaml"
    file.write_text(
        "restart_policy: 5\nthresholds:\n  warning: lots\n  <<: 7\nmonitoring: [a]\nwhen: 0000-99-99\n"
        "process_env: !!python/object:os.system {}\nworking_directory: !nothing x\nenabled: perhaps\n"
    )
    with pytest.raises(UsageError) as error:
        imported(str(file), {"CLAUDE_MPM_RESTART_COOLDOWN": "soon"})
    told = [str(fault).removeprefix(f"{file}:") for fault in error.value.faults]
    assert [one.partition(": ")[0] for one in told] == ["1", "4", "5", "6", "7", "8", "9", "3", "CLAUDE_MPM_RESTART_COOLDOWN"], told
    file.write_text("thresholds: {warning: [\n")
    with pytest.raises(UsageError) as error:
        imported(str(file), {"CLAUDE_MPM_RESTART_COOLDOWN": "soon"})
    assert len(error.value.faults) == 2  # nothing can be said of what follows in the file


def test_levels_are_judged_beside_other_faults(tmp_path: Path) -> None:
    """They contradict each other, whatever else is wrong."""
    file = tmp_path / "memory_guardian.yaml"
    file.write_text("thresholds: {warning: 500, critical: 400}\nmonitoring: {check_interval: -1}\n")
    with pytest.raises(UsageError) as error:
        imported(str(file), {})
    assert len(error.value.faults) == 2 and "must be below" in str(error.value)


@pytest.mark.parametrize(("raw", "said"), [(b"\xff", "no UTF-8 text"), (b"a: " + b"x" * (1 << 20), "larger than 1 MiB")])
def test_files_that_are_none(tmp_path: Path, raw: bytes, said: str) -> None:
    """They are faults, as a file that is not there."""
    (tmp_path / "f.yaml").write_bytes(raw)
    (fault,) = read_yaml(str(tmp_path / "f.yaml")).faults
    assert said in fault.message
    for missing in (str(tmp_path / "none.yaml"), str(tmp_path), "a\0b"):
        (fault,) = read_yaml(missing).faults
        assert "cannot be read" in fault.message


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)
NAMES = st.sampled_from(sorted({*PLAIN, *SECTIONS})) | st.text(max_size=10)
INSIDE = st.sampled_from(sorted({name.partition(".")[2] for name in EVERY if "." in name}))
FILES = st.dictionaries(NAMES, VALUES | st.dictionaries(INSIDE, VALUES, max_size=4), max_size=6)


@given(FILES)
def test_whatever_a_file_holds(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    """It is a configuration that can be read again, or a list of faults that name the file."""
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    _imported_or_faults(file)


@given(st.text(max_size=200) | st.sampled_from(["&a [*a]", "<<: 5", "<<: [{a: 1}]", "a: *x", "%YAML 9", "- - -", "a: b: c", "\t", "? ? ?"]))
@settings(max_examples=200)
def test_whatever_is_no_file_of_theirs(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Neither is there a traceback for what is no YAML at all."""
    file = tmp_path_factory.getbasetemp() / "garbage.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    _imported_or_faults(file)


def _imported_or_faults(file: Path) -> None:
    try:
        translation, loaded = imported(str(file), {})
    except UsageError as error:
        wrong = error
    else:
        tomllib.loads(as_toml(file.name, translation, loaded))
        return
    assert all(str(file) in str(fault) for fault in wrong.faults)


@given(st.recursive(st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_what_is_written_is_what_was_meant(value: Any) -> None:
    """Whatever a value is made of, TOML reads it back."""
    try:
        text = f"x = {written(value)}"
        text.encode("utf-8")
    except UnicodeEncodeError:
        return  # half a surrogate: no text, in TOML neither
    assert tomllib.loads(text)["x"] == value


@given(st.dictionaries(st.text(), st.text()))
def test_tables_of_variables_are_written_as_well(value: dict[str, str]) -> None:
    """In one line, whatever they are called."""
    assert tomllib.loads(f"x = {written(value)}")["x"] == value
