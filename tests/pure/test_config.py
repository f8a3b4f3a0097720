"""Configuration: strict, with the place of every fault, and the right one of two voices wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.edge.config import Layout, LoadedConfig, load_config
from supervisor.edge.config_file import read_config_file
from supervisor.edge.config_reading import FileReading
from supervisor.edge.sizes import GIB, Size
from supervisor.edge.usage import UsageError
from workers.config import (
    CommandConfig,
    DegradationConfig,
    EncryptionConfig,
    HealthConfig,
    HooksConfig,
    Isolation,
    LeafRestart,
    MemoryGuardianConfig,
    MemoryThresholds,
    MonitoringConfig,
    NotificationsConfig,
    RestartPolicy,
    check,
)

PREFIX = "MEMORY_GUARDIAN_"


def load(
    folder: Path,
    text: str = "",
    environ: dict[str, str] | None = None,
    options: Any = None,
    *,
    name: str = "g.toml",
    platform: str = "linux",
) -> LoadedConfig[MemoryGuardianConfig]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return load_config(MemoryGuardianConfig, file=str(file), environ=environ, prefix=PREFIX, options=options, platform=platform)


def faults(loaded: LoadedConfig[MemoryGuardianConfig]) -> list[str]:
    return [f"{fault.place}: {fault.message}" for fault in loaded.faults]


def test_the_defaults_of_the_contract() -> None:
    """Every key has the default that the contract names."""
    config = MemoryGuardianConfig()

    assert (config.enabled, config.auto_start, config.persist_state, config.state_dir) == (True, True, True, None)
    assert config.command == CommandConfig(
        argv=("claude",),
        env={},
        working_directory=".",
        name=None,
        restart=LeafRestart.CRASH,
        ready="spawn",
        start_timeout=30.0,
        watchdog=0.0,
    )
    assert config.thresholds == MemoryThresholds(None, None, None)
    assert config.restart_policy == RestartPolicy(3, 3600.0, 30.0, 300.0, 2.0, 30.0, 10.0, 3, 1800.0, 30.0, 300.0, "")
    assert config.monitoring == MonitoringConfig(30.0, 15.0, 5.0, 1.0, 3, 120.0, 10.0, 2.0, Size(ratio=0.05), 120.0, 0.0, 1)
    assert (config.workers.isolation, config.agents) == (Isolation.TASK, ())
    assert config.hooks == HooksConfig((), 10.0, 1) and config.notifications == NotificationsConfig(True)
    assert config.degradation == DegradationConfig(60.0, "")
    assert config.encryption == EncryptionConfig("")
    shares = (Size(ratio=0.2), Size(ratio=0.15), Size(ratio=0.1))
    assert config.health == HealthConfig(30.0, 0.8, 0.9, 0.9, Size(amount_bytes=1 << 30), 0.8, 0.8, *shares)


def test_health_is_in_order(tmp_path: Path) -> None:
    """Levels of the host that can be compared are; free space is no share; a signal is one that can be handled."""
    loaded = load(
        tmp_path,
        """
        [health]
        disk_free = "5%"
        host_warning = "10%"
        host_critical = "12%"
        host_emergency = "1GiB"
        cpu = 0
        [degradation]
        signal = "SIGKILL"
        """,
    )
    told = {str(fault).partition(": ")[2] for fault in loaded.faults}
    assert told == {
        "health.disk_free: disk_free (5%) must be a size such as 1GiB: disks differ",
        "health.host_warning: host_critical (12%) must not be above host_warning (10%)",
        "health.cpu: expected a ratio > 0, got 0",
        "degradation.signal: expected the name of a signal that a program can handle, such as SIGUSR1, got 'SIGKILL'",
    }


def test_a_key_is_named_by_its_place(tmp_path: Path) -> None:
    """Encryption names where its keys are; a key that was written there by mistake is not repeated in the fault."""
    for place in ("", "keyring", "keyring:work", "file:~/key", "env:STATE_KEY"):
        assert EncryptionConfig(place).key == place
    secret = "bm90IGEgcmVhbCBrZXk"
    for wrong in (secret, f"file{secret}", "file:", "keyring:", "env: ", ":x", f"key:{secret}"):
        (fault,) = load(tmp_path, f"[encryption]\nkey = '{wrong}'").faults
        assert "encryption.key: expected keyring, keyring:NAME, file:PATH or env:VARIABLE" in str(fault) and secret not in str(fault)
    (fault,) = load(tmp_path, environ={"MEMORY_GUARDIAN_ENCRYPTION_KEY": "env:MEMORY_GUARDIAN_KEY"}).faults
    assert "does not begin with MEMORY_GUARDIAN_" in str(fault)


def test_all_faults_at_once(tmp_path: Path) -> None:
    """One reading reports every fault with its path."""
    loaded = load(
        tmp_path,
        """
        warning = "1GiB"
        [restart]
        max_attempts = -1
        max_attemps = 3
        attempt_window = "60"
        initial_cooldown = 400
        [thresholds]
        critical = "lots"
        [monitoring]
        critical_samples = 2.5
        normal_interval = nan
        [command]
        argv = "claude --print"
        name = "../x"
        restart = "crsh"
        ready = "line:("
        env = { A = 1 }
        [guardian]
        enabled = "yes"
        state_dir = ""
        [restrat]
        [hooks]
        on_event = [1]
        [[agents]]
        name = "a"
        graceful_timeout = true
        [platform.linux.monitoring]
        capture_timeout = 0
        [platform.windows.monitoring]
        capture_timout = 1
        [platform.plan9]
        """,
        {"MEMORY_GUARDIAN_THRESHOLDS_WARNING": "-1", "MEMORY_GUARDIAN_CMD": "1", "MEMORY_GUARDIAN_GUARDIAN_ENABLED": "1"},
        {("monitoring", "normal_interval"): ("--interval", "soon")},
    )

    assert faults(loaded) == [
        "warning: unknown key; it belongs to [thresholds]",
        "restart.max_attempts: expected an integer >= 1, got -1",
        "restart.max_attemps: unknown key (did you mean 'max_attempts'?)",
        "restart.attempt_window: expected seconds > 0, got '60'",
        'thresholds.critical: expected a size such as "12GiB", "512 MiB", "1.5GB" or "80%", or a number of MiB, got \'lots\'',
        "monitoring.critical_samples: expected an integer >= 1, got 2.5",
        "monitoring.normal_interval: expected seconds >= 0.01, got nan",
        "command.argv: expected a list of strings, got 'claude --print'; write ['claude', '--print']",
        "command.name: expected a name without a slash that does not begin with a dot, got '../x'",
        "command.restart: expected one of crash, failure, always, never, got 'crsh' (did you mean 'crash'?)",
        "command.ready: expected a regular expression after line:, got '(' (missing ), unterminated subpattern at position 0)",
        "command.env: expected a string without NUL characters for 'A', got 1",
        "guardian.enabled: expected true or false, got 'yes'",
        "guardian.state_dir: expected a string, got an empty string",
        "restrat: unknown table (did you mean 'restart'?)",
        "hooks.on_event: expected a list of strings without NUL characters, got 1 at [0]",
        "agents[0].graceful_timeout: expected seconds >= 0, got true",
        "platform.linux.monitoring.capture_timeout: expected seconds > 0, got 0",
        "platform.windows.monitoring.capture_timout: unknown key (did you mean 'capture_timeout'?)",
        "platform.plan9: unknown platform; known are linux, macos, windows",
        "MEMORY_GUARDIAN_CMD: unknown variable (did you mean 'MEMORY_GUARDIAN_COMMAND_ENV'?)",
        "MEMORY_GUARDIAN_GUARDIAN_ENABLED: expected true or false, got 1",
        "MEMORY_GUARDIAN_THRESHOLDS_WARNING: a size cannot be negative, got '-1'",
        "--interval: expected seconds >= 0.01, got 'soon'",
        "restart.initial_cooldown: initial_cooldown (400) must not be above max_cooldown (300)",
    ]


def test_a_fault_names_the_file(tmp_path: Path) -> None:
    """A fault of the file says which file; one of the environment does not."""
    loaded = load(tmp_path, "[restart]\nmax_attempts = 0", {"MEMORY_GUARDIAN_RESTART_MAX_ATTEMPTS": "x"})

    assert str(loaded.faults[0]) == f"{tmp_path / 'g.toml'}: restart.max_attempts: expected an integer >= 1, got 0"
    assert str(loaded.faults[1]) == "MEMORY_GUARDIAN_RESTART_MAX_ATTEMPTS: expected an integer >= 1, got 'x'"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[restart]\nmax_attempts = \n", "g.toml:2:16"),
        ("a = 1\na = 2\n", "g.toml:2:6"),
        ("[command", "g.toml:1:9"),
        ('x = """abc\n', "g.toml:2:1"),
    ],
)
def test_malformed_toml_has_its_position(tmp_path: Path, text: str, place: str) -> None:
    """A file that is no TOML is named with line and column."""
    (fault,) = load(tmp_path, text).faults

    assert str(fault).startswith(f"{tmp_path}/{place}: malformed TOML: ")


def test_unreadable_files(tmp_path: Path) -> None:
    """Each way of not being readable is one clear fault."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# ok\nname = '\xe9'\n")
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (1 << 20) + b"\n")
    deep = tmp_path / "deep.toml"
    deep.write_text("x = " + "[" * 5000)
    long = tmp_path / "long.toml"
    long.write_text("x = " + "9" * 5000)

    for file, said in {
        tmp_path / "none.toml": "No such file or directory",
        tmp_path: "Is a directory",
        latin: "latin.toml:2:9: no UTF-8 text",
        huge: "larger than 1 MiB",
        deep: "malformed TOML",
        long: "malformed TOML",
        "nul\0.toml": "null",
        "/dev/zero": "larger than 1 MiB",
    }.items():
        with pytest.raises(UsageError, match=r".") as refused:
            read_config_file(str(file))
        assert said in str(refused.value)


def test_yaml_is_read_like_toml(tmp_path: Path) -> None:
    """YAML means the same, with the same faults and positions."""
    pytest.importorskip("yaml")
    loaded = load(tmp_path, "thresholds: {critical: 2GiB}\nrestart:\n  max_attempts: x\nworkers:\n", name="g.yaml")
    broken = load(tmp_path, "a: [1,\nb: }", name="g.yml")
    listed = load(tmp_path, "- 1", name="g.yml")

    assert loaded.config.thresholds.critical == Size(amount_bytes=2 * GIB)
    assert faults(loaded) == ["restart.max_attempts: expected an integer >= 1, got 'x'"]
    assert "g.yml:2:4: malformed YAML" in str(broken.faults[0])
    assert "expected tables at the top level" in str(listed.faults[0])
    assert load(tmp_path, "", name="g.yml").faults == []


def test_yaml_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a YAML file is refused with the extra's name."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)

    (fault,) = load(tmp_path, "a: 1", name="g.yaml").faults

    assert "pip install 'memory-guardian[yaml]'" in str(fault)


def test_a_platform_section_applies_on_its_platform_only(tmp_path: Path) -> None:
    """The section of this platform overrides the file, that of another does nothing."""
    text = "[restart]\nmax_attempts = 4\n[platform.linux.restart]\nmax_attempts = 5\n[platform.macos.restart]\nmax_attempts = 6\n"

    assert load(tmp_path, text, platform="linux").config.restart_policy.max_attempts == 5
    assert load(tmp_path, text, platform="darwin").config.restart_policy.max_attempts == 6
    assert load(tmp_path, text, platform="win32").config.restart_policy.max_attempts == 4
    assert load(tmp_path, text).config.platform_overrides.macos == {"restart": {"max_attempts": 6}}


KEYS: dict[tuple[str, str], list[tuple[str, object]]] = {
    ("restart", "max_attempts"): [(str(number), number) for number in range(1, 7)],
    ("thresholds", "critical"): [(f"{number}GiB", Size(amount_bytes=number * GIB)) for number in range(1, 7)],
    ("monitoring", "normal_interval"): [(f"{number}.5", number + 0.5) for number in range(1, 7)],
    ("guardian", "persist_state"): [("true", True), ("false", False)] * 3,
    ("command", "working_directory"): [(f"/d{number}", f"/d{number}") for number in range(1, 7)],
}
LAYERS = ("file", "platform", "environment", "option")


@given(st.data())
def test_the_last_voice_wins(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Defaults < file < platform section < environment < options, for every key on its own."""
    said = {at: data.draw(st.sets(st.sampled_from(LAYERS)), label=".".join(at)) for at in KEYS}
    tables: dict[str, list[str]] = {}
    environ: dict[str, str] = {}
    options: dict[tuple[str, str], tuple[str, object]] = {}
    expected: dict[tuple[str, str], object] = {}
    for (table, name), layers in said.items():
        for rank, layer in enumerate(LAYERS):
            if layer not in layers:
                continue
            written, value = KEYS[table, name][rank]
            expected[table, name] = value
            quoted = f"{name} = {written}" if isinstance(value, bool | int | float) else f'{name} = "{written}"'
            match layer:
                case "file":
                    tables.setdefault(f"[{table}]", []).append(quoted)
                case "platform":
                    tables.setdefault(f"[platform.linux.{table}]", []).append(quoted)
                case "environment":
                    environ[f"{PREFIX}{table}_{name}".upper()] = written
                case _:
                    options[table, name] = (f"--{name}", written)
    text = "\n".join("\n".join([header, *lines]) for header, lines in tables.items())

    loaded = load(tmp_path_factory.getbasetemp(), text, environ, options)

    assert loaded.faults == []
    config, defaults = loaded.config, MemoryGuardianConfig()
    parts = {"restart": "restart_policy", "guardian": None}
    for table, name in KEYS:
        part = parts.get(table, table)
        holder, default = (getattr(config, part), getattr(defaults, part)) if part else (config, defaults)
        assert getattr(holder, name) == expected.get((table, name), getattr(default, name))


def test_an_agent_overrides_the_file_but_not_the_environment(tmp_path: Path) -> None:
    """An agent's own keys are over the file's tables, under the environment; its name is never inherited."""
    text = """
    [command]
    argv = ["a"]
    name = "base"
    restart = "never"
    [thresholds]
    critical = "2GiB"
    [platform.linux.restart]
    max_attempts = 7
    [[agents]]
    argv = ["b"]
    critical = "3GiB"
    max_attempts = 8
    [[agents]]
    name = "second"
    """
    loaded = load(tmp_path, text, {"MEMORY_GUARDIAN_THRESHOLDS_CRITICAL": "5GiB"})
    first, second = loaded.config.agents

    assert loaded.faults == []
    assert (first.command.argv, first.command.name, first.command.restart) == (("b",), None, LeafRestart.NEVER)
    assert (second.command.argv, second.command.name) == (("a",), "second")
    assert first.thresholds.critical == second.thresholds.critical == Size(amount_bytes=5 * GIB)
    assert (first.restart_policy.max_attempts, second.restart_policy.max_attempts) == (8, 7)


def test_a_clash_is_reported_where_it_was_written(tmp_path: Path) -> None:
    """Two legal values that exclude each other are a fault of the one that somebody wrote; a fault's stand-in never clashes."""
    lone = load(tmp_path, "[restart]\nmax_cooldown = 10")
    environment = load(tmp_path, "", {"MEMORY_GUARDIAN_RESTART_INITIAL_COOLDOWN": "500"})
    broken = load(tmp_path, "[restart]\ninitial_cooldown = 500\nmax_cooldown = 'x'")

    assert [fault.place for fault in lone.faults] == ["restart.max_cooldown"]
    assert [fault.place for fault in environment.faults] == ["MEMORY_GUARDIAN_RESTART_INITIAL_COOLDOWN"]
    assert [fault.place for fault in broken.faults] == ["restart.max_cooldown"]


def test_values_made_in_python_obey_the_same_rules() -> None:
    """The classes check themselves, and take what a file may hold."""
    with pytest.raises(UsageError, match=r"max_attempts: expected an integer >= 1, got 0; circuit_reset: expected seconds > 0"):
        RestartPolicy(max_attempts=0, circuit_reset=-1)
    with pytest.raises(UsageError, match="max_attempts: expected an integer >= 1, got true"):
        RestartPolicy(max_attempts=True)
    with pytest.raises(UsageError, match="must not be above max_cooldown"):
        RestartPolicy(initial_cooldown=301)

    assert MonitoringConfig(normal_interval=1).intervals().warning == 1.0
    assert attrs.evolve(MemoryThresholds(), critical=Size(ratio=0.5)).critical == Size(ratio=0.5)


def test_environment_lists_and_tables_are_toml(tmp_path: Path) -> None:
    """A list or a table in the environment is written as in the file; words and sizes are written bare."""
    loaded = load(
        tmp_path,
        "",
        {
            "MEMORY_GUARDIAN_COMMAND_ARGV": '["a", "b c"]',
            "MEMORY_GUARDIAN_COMMAND_ENV": '{ X = "1" }',
            "MEMORY_GUARDIAN_COMMAND_RESTART": "always",
            "MEMORY_GUARDIAN_RESTART_CONTINUE_PROMPT": "",
            "MEMORY_GUARDIAN_THRESHOLDS_WARNING": "100",
            "MEMORY_GUARDIANS": "not ours",
        },
    )
    more_than_one = load(tmp_path, "", {"MEMORY_GUARDIAN_RESTART_MAX_ATTEMPTS": "1\nx = 2", "MEMORY_GUARDIAN_RESTART_CIRCUIT_RESET": ""})

    assert loaded.faults == []
    assert loaded.config.command == CommandConfig(argv=("a", "b c"), env={"X": "1"}, restart=LeafRestart.ALWAYS)
    assert loaded.config.thresholds.warning == Size(amount_bytes=100 << 20)
    assert len(more_than_one.faults) == 2


def test_variables_are_unambiguous() -> None:
    """No two keys share an environment variable."""
    layout = Layout.of(MemoryGuardianConfig)

    assert len(layout.variables(PREFIX)) == sum(len(keys) for keys in layout.tables.values())


LEAVES = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=20),
    st.sampled_from(["12GiB", "80%", "crash", "fd", "claude", "", "a\0b", "/", "..", "linux"]),
)
NAMES = st.one_of(
    st.sampled_from(sorted({*Layout.of(MemoryGuardianConfig).tables, "agents", "platform", "linux", "macos"})),
    st.sampled_from(sorted({name for keys in Layout.of(MemoryGuardianConfig).tables.values() for name in keys})),
    st.text(min_size=1, max_size=8),
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20)


@given(st.dictionaries(NAMES, TREES, max_size=8), st.dictionaries(NAMES.map(lambda name: f"{PREFIX}{name.upper()}"), st.text(max_size=12)))
def test_any_tree_of_values_is_faults_or_a_configuration(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object], environ: dict[str, str]
) -> None:
    """Whatever well-formed file and environment say, there are only legal values and faults of one printable line each."""
    reading = FileReading(Layout.of(MemoryGuardianConfig))
    overrides: dict[str, Any] = {}
    reading._file(tree, "file", "linux", overrides)
    reading._environment(environ, PREFIX, frozenset())
    made = reading._build(MemoryGuardianConfig, overrides)

    assert isinstance(made, MemoryGuardianConfig)
    assert all(str(fault).isprintable() and len(str(fault)) < 500 for fault in reading.faults)


HEADERS = ["[restart]", "[thresholds]", "[[agents]]", "[platform.linux.command]", "[", "]"]
WORDS = ["max_attempts", "warning", "argv", "=", "-1", "nan", '"x"', '"12GiB"', "80", "1979-05-27", "0x", "9" * 400]
MARKS = ["\n", " ", "#", "'''", '"""', "{", "}", ",", "\x00", "\ud7ff"]
TOML = st.lists(st.sampled_from([*HEADERS, *WORDS, *MARKS]), max_size=40).map("".join)


@given(st.one_of(TOML, st.text(max_size=200)).map(str.encode) | st.binary(max_size=200))
def test_check_succeeds_or_lists_faults(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever is in the file, `check` answers with text or with a usage error, never with another exception."""
    file = tmp_path_factory.getbasetemp() / "fuzz.toml"
    file.write_bytes(content)
    try:
        said = check(str(file), {})
    except UsageError as error:
        said = f"{len(error.faults)} faults"

    assert "valid" in said or int(said.split()[0]) > 0


def test_every_key_is_documented() -> None:
    """The reference names every key, with its default as it is written in the file."""
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    layout = Layout.of(MemoryGuardianConfig)

    for table, keys in layout.tables.items():
        for name in keys:
            full = f"`{table}.{name}` |" if table in ("workers", "hooks", "notifications") else f"`{name}` |"
            assert full in text, f"{table}.{name}"
    for default in ("`30` | s, > 0", '`["claude"]`', '`"crash"`', '`"5%"`', '`"12GiB"`, `"50%"`', "`1800` | s, > 0"):
        assert default in text
