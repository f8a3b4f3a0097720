"""What a run makes of a configuration: thresholds in bytes, names, places, and this host's memory."""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from supervisor.edge.sizes import GIB, MIB, Size
from supervisor.edge.usage import UsageError
from workers.config import (
    GuardianRun,
    MemoryThresholds,
    MonitoringConfig,
    add_options,
    check,
    checked,
    configure,
    default_state_dir,
    host_limit_bytes,
    illegal_name,
    resolve,
)
from workers.config.host import _cgroup_limits, absolute, unusable_state_dir
from workers.policy.errors import PolicyError, ThresholdOrder
from workers.policy.pressure import Thresholds


def run(*words: str, command: list[str] | None = None, environ: dict[str, str] | None = None) -> GuardianRun:
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args(words)
    options.command = command
    return configure(options, environ or {})


def faults(*words: str, command: list[str] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(UsageError) as refused:
        run(*words, command=command, environ=environ)
    return [f"{fault.place}: {fault.message}" for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (64 * GIB, Thresholds(12 * GIB, 15 * GIB, 18 * GIB)),
        (None, Thresholds(12 * GIB, 15 * GIB, 18 * GIB)),
        (8 * GIB, Thresholds(4 * GIB, int(5.2 * GIB), 6 * GIB)),
    ],
)
def test_default_thresholds(limit: int | None, expected: Thresholds) -> None:
    """What is not given is the lower of its default size and its default share of the limit."""
    assert resolve(MemoryThresholds(), limit) == expected


def test_only_critical() -> None:
    """Around a critical that stands alone, warning is 80 % and emergency 120 % of it."""
    assert resolve(MemoryThresholds(critical=Size(amount_bytes=1000)), 64 * GIB) == Thresholds(800, 1000, 1200)
    assert resolve(MemoryThresholds(critical=Size(ratio=0.5)), 2000) == Thresholds(800, 1000, 1200)


@pytest.mark.parametrize(
    ("given_mib", "expected_mib"),
    [
        ({"warning": 13000}, (13000, 15360, 18432)),
        ({"warning": 16000}, (16000, 20000, 24000)),
        ({"warning": 100}, (100, 15360, 18432)),
        ({"warning": 15360}, (15360, 19200, 23040)),
        ({"emergency": 15360}, (12288, 12800, 15360)),
        ({"emergency": 16000}, (12288, 15360, 16000)),
        ({"emergency": 600}, (400, 500, 600)),
        ({"warning": 100, "emergency": 500}, (100, 300, 500)),
        ({"warning": 100, "critical": 200}, (100, 200, 18432)),
        ({"warning": 15000, "critical": 20000}, (15000, 20000, 24000)),
        ({"critical": 500, "emergency": 900}, (400, 500, 900)),
        ({"critical": 16000, "emergency": 17000}, (12288, 16000, 17000)),
    ],
)
def test_other_combinations_keep_the_order(given_mib: dict[str, int], expected_mib: tuple[int, int, int]) -> None:
    """A default that would break the order gives way to what was given."""
    given_sizes = {name: Size(amount_bytes=amount * MIB) for name, amount in given_mib.items()}

    assert resolve(MemoryThresholds(**given_sizes), 64 * GIB) == Thresholds(*(amount * MIB for amount in expected_mib))


AMOUNTS = st.one_of(
    st.none(),
    st.integers(10, 1 << 50).map(lambda amount: Size(amount_bytes=amount)),
    st.floats(0.01, 1).map(lambda ratio: Size(ratio=ratio)),
)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.integers(64 * MIB, 1 << 45))
def test_thresholds_that_are_in_order_resolve(warning: Size | None, critical: Size | None, emergency: Size | None, limit: int) -> None:
    """Whatever is given in order resolves to three thresholds in order, and what was given stays as it is."""
    wanted = [size.of(limit) if size else None for size in (warning, critical, emergency)]
    known = [amount for amount in wanted if amount is not None]
    assume(all(upper - lower >= 2 for lower, upper in pairwise(known)))

    resolved = resolve(MemoryThresholds(warning, critical, emergency), limit)

    for amount, got in zip(wanted, (resolved.warning_bytes, resolved.critical_bytes, resolved.emergency_bytes), strict=True):
        assert amount in (None, got)


def test_thresholds_out_of_order() -> None:
    """Given thresholds out of order are refused, and so is a share of nobody knows what."""
    with pytest.raises(ThresholdOrder):
        resolve(MemoryThresholds(warning=Size(amount_bytes=10), critical=Size(amount_bytes=10)), GIB)
    with pytest.raises(ThresholdOrder):
        resolve(MemoryThresholds(warning=Size(amount_bytes=10), emergency=Size(amount_bytes=9)), GIB)
    with pytest.raises(PolicyError, match="unknown"):
        resolve(MemoryThresholds(warning=Size(ratio=0.5)), None)


def test_options_override_all(tmp_path: Path) -> None:
    """The options of one run are over the environment and the file."""
    file = tmp_path / "g.toml"
    file.write_text('[thresholds]\ncritical = "3GiB"\n[guardian]\nstate_dir = "from-file"\n')
    environ = {"MEMORY_GUARDIAN_THRESHOLDS_CRITICAL": "4GiB", "MEMORY_GUARDIAN_MONITORING_NORMAL_INTERVAL": "9"}
    words = ["--config", str(file), "--critical", "512", "--interval", "0.5", "--state-dir", str(tmp_path / "s"), "--dry-run"]

    got = run(*words, command=["/bin/sh", "-c", "--", "x"], environ=environ)

    assert got.agents[0].thresholds == Thresholds(512 * MIB * 4 // 5, 512 * MIB, 512 * MIB * 6 // 5)
    assert got.agents[0].command.argv == ("/bin/sh", "-c", "--", "x")
    assert (got.agents[0].name, got.agents[0].name_given, got.dry_run) == ("sh", False, True)
    assert got.state_dir == str(tmp_path / "s")
    assert set(vars_of(got.config.monitoring)) == {0.5}


def vars_of(monitoring: MonitoringConfig) -> list[float]:
    intervals = monitoring.intervals()
    return [intervals.normal, intervals.warning, intervals.critical, intervals.emergency]


def test_faults_of_options_and_file_together(tmp_path: Path) -> None:
    """The faults of options, environment, file and places come in one list."""
    file = tmp_path / "g.toml"
    file.write_text("[restart]\nmax_attempts = -1\n")

    assert faults(
        *("--config", str(file), "--warning=-5GiB", "--interval", "-1", "--name", "a/b", "--state-dir", f"{file}/x"),
        command=["x"],
        environ={"MEMORY_GUARDIAN_COMMAND_WORKING_DIRECTORY": "/nowhere"},
    ) == [
        "restart.max_attempts: expected an integer >= 1, got -1",
        "--warning: a size cannot be negative, got '-5GiB'",
        "--interval: expected seconds >= 0.01, got -1",
        "--name: expected a name without a slash that does not begin with a dot, got 'a/b'",
        f"--state-dir: '{file}' is no directory",
        "MEMORY_GUARDIAN_COMMAND_WORKING_DIRECTORY: '/nowhere' is not there",
    ]


def test_threshold_order_is_a_fault_of_what_was_given() -> None:
    """The order of thresholds is judged after shares became bytes, and blamed on what was written."""
    assert faults("--warning", "3GiB", "--critical", "2GiB", command=["x"]) == [
        "--warning: warning (3.0 GiB) must be below critical (2.0 GiB)"
    ]
    assert faults("--warning", "3GiB", "--emergency", "2GiB", command=["x"]) == [
        "--warning: warning (3.0 GiB) must be below emergency (2.0 GiB)"
    ]
    assert faults("--warning", "3GiB", "--critical", "2GiB", "--emergency", "x", command=["x"])[0].startswith(
        "--emergency: expected a size"
    )
    assert len(faults("--warning", "3GiB", "--critical", "2GiB", "--emergency", "x", command=["x"])) == 1
    assert faults("--critical", "1%", "--emergency", "1MiB", command=["x"])[0].startswith("--critical: critical (")


def test_without_a_command() -> None:
    """A run needs a command, or a file that may name one."""
    assert faults() == [": no command; put -- before it: [options] -- COMMAND [ARG ...]"]


def test_a_file_may_name_the_command(tmp_path: Path) -> None:
    """With a file the command may be left out; a file with agents runs these, and takes none."""
    single, several = tmp_path / "one.toml", tmp_path / "two.toml"
    single.write_text('[command]\nargv = ["sleep", "1"]\nname = "nap"\n')
    several.write_text('[[agents]]\nargv = ["sleep"]\n[[agents]]\nargv = ["sleep"]\n[[agents]]\nname = "sleep-2"\n')

    assert [agent.name for agent in run("--config", str(single)).agents] == ["nap"]
    assert [(agent.name, agent.name_given) for agent in run("--config", str(several)).agents] == [
        ("sleep", False),
        ("sleep-3", False),
        ("sleep-2", True),
    ]
    assert faults("--config", str(several), "--name", "n", command=["x"]) == [
        "agents: a file with [[agents]] runs these; leave out -- COMMAND",
        "--name: each of [[agents]] has its own name",
    ]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/claude", "claude"),
        (".hidden", "hidden"),
        ("/", "agent"),
        ("...", "agent"),
        ("a\nb", "a-b"),
        ("x" * 99, "x" * 48),
        ("d/", "d"),
    ],
)
def test_names_from_commands(command: str, name: str) -> None:
    """A derived name is always legal."""
    assert run(command=[command]).agents[0].name == name
    assert illegal_name(name) is None


@given(st.text(max_size=80))
def test_any_command_has_a_legal_name(word: str) -> None:
    """Whatever the command is called, the agent's name can be a path's part and a file's name."""
    assume(word.strip() and "\0" not in word)

    assert illegal_name(run(command=[word]).agents[0].name) is None


@pytest.mark.parametrize("name", ["", " ", "a ", "a/b", "/", ".", "..", ".x", "x" * 65, "a\nb", "\x1b[31m", "\N{GRINNING FACE}" * 60])
def test_illegal_names(name: str) -> None:
    """What cannot be a path's part and a file's name is no name."""
    assert illegal_name(name)


def test_check_tells_what_a_file_amounts_to(tmp_path: Path) -> None:
    """`check` shows agents, thresholds and places, and what has no effect or cannot be reached."""
    file = tmp_path / "g.toml"
    file.write_text(
        '[command]\nargv = ["sleep", "9"]\nwatchdog = 5\n[thresholds]\ncritical = "1PiB"\n'.replace("1PiB", "900TiB")
        + '[workers]\nisolation = "process"\n[hooks]\non_event = ["x"]\n[restart]\ncontinue_prompt = "go on"\n'
    )

    said = check(str(file), {})

    assert said.splitlines()[0] == f"{file}: valid"
    for part in ("agent sleep: sleep 9", "critical 900 TiB", "critical is above this host's memory", f"state: {default_state_dir()}"):
        assert part in said
    assert "watchdog" not in said
    assert "on_event" not in said
    assert "continue_prompt is for Claude Code, and has no effect" in said
    assert sys.platform == "win32" or "isolation" not in said


def test_state_directories(tmp_path: Path) -> None:
    """A state directory is usable when it is there, or can be made; looking creates nothing."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")

    assert unusable_state_dir(str(tmp_path / "a/b/c")) is None
    assert unusable_state_dir(str(tmp_path)) is None
    assert unusable_state_dir(str(tmp_path / "file")) == f"'{tmp_path}/file' is no directory"
    assert unusable_state_dir(str(tmp_path / "file/x")) == f"'{tmp_path}/file' is no directory"
    assert unusable_state_dir(str(tmp_path / "dangling/x")) is not None
    assert not (tmp_path / "a").exists()


def test_the_default_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows the XDG specification: an absolute XDG_STATE_HOME, or ~/.local/state."""
    from platformdirs import user_state_dir

    for base in ("/x", "", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", base)
        expected = "/x/memory-guardian" if base == "/x" else absolute("~/.local/state/memory-guardian")
        assert default_state_dir() == expected
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_state_dir() == user_state_dir("memory-guardian", appauthor=False)


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.replace("ROOT", str(root)))
    return str(root / "proc")


V2 = "30 25 0:27 / ROOT/cg rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
V1 = "31 25 0:28 / ROOT/mem\\040ory rw - cgroup cgroup rw,memory\n32 25 0:29 / ROOT/cpu rw - cgroup cgroup rw,cpu\n"


def test_limits_of_control_groups(tmp_path: Path) -> None:
    """Every limit from our own group up to the mount counts, in both versions; no limit is none."""
    proc = tree(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu:/a\n4:hugetlb,memory:/a/b\n0::/u/v\n",
            "proc/self/mountinfo": V2 + V1,
            "cg/memory.max": "max\n",
            "cg/u/memory.max": "500\n",
            "cg/u/v/memory.max": "900\n",
            "mem ory/memory.limit_in_bytes": "9223372036854771712\n",
            "mem ory/a/b/memory.limit_in_bytes": "700\n",
            "cpu/a/memory.limit_in_bytes": "1\n",
        },
    )

    assert sorted(_cgroup_limits(proc)) == [500, 700, 900, 9223372036854771712]
    assert host_limit_bytes(proc) == 500


def test_limits_inside_a_container(tmp_path: Path) -> None:
    """Where the mount shows a part of the hierarchy only, our group is found below that part, or is its top."""
    mount = "30 25 0:27 /docker/x ROOT/cg rw - cgroup2 cgroup2 rw\n"
    below = tree(
        tmp_path / "1", {"proc/self/cgroup": "0::/docker/x/y\n", "proc/self/mountinfo": mount, "cg/y/memory.max": "5", "cg/memory.max": "9"}
    )
    elsewhere = tree(tmp_path / "2", {"proc/self/cgroup": "0::/docker/xy\n", "proc/self/mountinfo": mount, "cg/memory.max": "7"})
    outside = tree(
        tmp_path / "3", {"proc/self/cgroup": "0::/../a\n", "proc/self/mountinfo": V2, "cg/memory.max": "6", "cg/a/memory.max": "1"}
    )

    assert list(_cgroup_limits(below)) == [5, 9]
    assert list(_cgroup_limits(elsewhere)) == [7]
    assert list(_cgroup_limits(outside)) == [6]


@given(st.text(max_size=60), st.text(max_size=60))
def test_odd_procfs_is_no_exception(tmp_path_factory: pytest.TempPathFactory, groups: str, mounts: str) -> None:
    """Whatever procfs says, or when it says nothing, physical memory remains."""
    proc = tmp_path_factory.getbasetemp() / "odd"
    (proc / "self").mkdir(parents=True, exist_ok=True)
    (proc / "self/cgroup").write_text("0::/\n" + groups, encoding="utf-8", errors="replace")
    (proc / "self/mountinfo").write_text(mounts + "\n a - cgroup2", encoding="utf-8", errors="replace")

    assert (host_limit_bytes(str(proc)) or 0) >= 64 * MIB
    assert (host_limit_bytes("/nowhere") or 0) >= 64 * MIB


def test_encryption_without_its_extra_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without the extra is a fault at the start, where it is written, and not at the first capture."""
    (tmp_path / "g.toml").write_text("[encryption]\nkey = 'keyring'\n")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match=r"encryption\.key: .*pip install 'memory-guardian\[secure\]'"):
        checked(str(tmp_path / "g.toml"), {})
