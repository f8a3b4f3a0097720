"""``run-guarded``: what its options, its file and the variables make of a run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from supervisor import UsageError
from supervisor.edge.parser import Parser
from workers.config import GuardianRun
from workers.mpm.guarded import GUARDED, LONGEST_PROMPT, VALUES, WITHOUT, WITHOUT_VALUES

THEIRS = (
    "--memory-threshold --check-interval --warning-threshold --emergency-threshold --max-restarts --restart-cooldown --graceful-timeout "
    "--enable-state-preservation --no-state-preservation --state-dir --config --config-file --quiet --verbose --show-stats "
    "--stats-interval --no-hooks --no-tickets --no-native-agents --websocket-port -i --input --non-interactive --logging --log-dir "
    "--accept-experimental --force-experimental"
)
"""All options of claude-mpm run-guarded."""


def parser() -> Parser:
    made = Parser(prog="test", allow_abbrev=False)
    GUARDED.add_options(made)
    return made


def made(*words: str, command: list[str] | None = None, **environ: str) -> GuardianRun:
    options = parser().parse_args(list(words))
    assert isinstance(options, argparse.Namespace)
    options.command = command
    run: GuardianRun = GUARDED.configure(options, {"PATH": os.defpath, **environ})
    return run


def test_every_option_of_theirs_is_one() -> None:
    """None is missing, and none of ours is in their way; what has no effect says why."""
    assert {*parser().option_strings} - {"-h", "--help"} == {*THEIRS.split()}
    assert all(len(why) > 20 for why in [*WITHOUT.values(), *(why for _, why in WITHOUT_VALUES.values())])


@pytest.mark.parametrize(
    ("words", "command", "argv"),
    [
        ([], None, ["claude"]),
        ([], [], ["claude"]),
        ([], ["--resume", "x"], ["claude", "--resume", "x"]),
        ([], ["claude", "--resume"], ["claude", "--resume"]),
        ([], ["/opt/claude"], ["/opt/claude"]),
        ([], ["npx", "@anthropic-ai/claude-code", "-p"], ["npx", "@anthropic-ai/claude-code", "-p"]),
        ([], ["say hello"], ["claude", "say hello"]),
        (["-i", "do it"], ["--add-dir", "a", "b"], ["claude", "do it", "--add-dir", "a", "b"]),
        (
            ["-i", "do it"],
            ["npx", "@anthropic-ai/claude-code", "--model", "m"],
            ["npx", "@anthropic-ai/claude-code", "do it", "--model", "m"],
        ),
        (["--input=--do it"], None, ["claude", " --do it"]),
        (["--non-interactive"], ["--verbose"], ["claude", "-p", "--verbose"]),
        (["--non-interactive", "-i", "do it"], ["--verbose"], ["claude", "-p", "do it", "--verbose"]),
    ],
)
def test_what_is_run(words: list[str], command: list[str] | None, argv: list[str]) -> None:
    """The arguments after --, with or without the program, and the prompt before them."""
    (agent,) = made(*words, command=command).agents
    assert list(agent.command.argv) == argv


def test_the_prompt_of_a_file(tmp_path: Path) -> None:
    """Where there is a file of that name its text is meant, as there."""
    (tmp_path / "task").write_text("from\na file")
    (agent,) = made("-i", str(tmp_path / "task")).agents
    assert agent.command.argv == ("claude", "from\na file")
    (agent,) = made("-i", str(tmp_path)).agents
    assert agent.command.argv == ("claude", str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_prompt_from_a_pipe_is_refused(tmp_path: Path) -> None:
    """Neither is it waited for, nor is its name taken for the prompt; what reads standard input is named."""
    os.mkfifo(tmp_path / "pipe")
    for name in (str(tmp_path / "pipe"), os.devnull):
        with pytest.raises(UsageError, match="--non-interactive"):
            made("-i", name)


def test_options_with_values(tmp_path: Path) -> None:
    """Each is a key of ours; what is not given is as by default here."""
    assert set(VALUES) <= set(parser().option_strings)
    words = (
        "--memory-threshold 800 --warning-threshold 700 --emergency-threshold 900 --check-interval 7 --max-restarts 4 --graceful-timeout 5"
    )
    run = made(*words.split(), "--restart-cooldown", "12", "--state-dir", str(tmp_path), "--no-state-preservation", "--websocket-port", "9")
    (agent,) = run.agents
    limits = (agent.thresholds.warning_bytes, agent.thresholds.critical_bytes, agent.thresholds.emergency_bytes)
    assert [limit >> 20 for limit in limits] == [700, 800, 900]
    assert (agent.restart_policy.max_attempts, agent.restart_policy.initial_cooldown, agent.restart_policy.graceful_timeout) == (4, 12, 5)
    assert (run.config.monitoring.normal_interval, run.state_dir, run.config.persist_state) == (7, str(tmp_path), False)
    assert run.config.mpm.monitor == "http://127.0.0.1:9"
    plain = made()
    assert plain.agents[0].restart_policy.initial_cooldown == 30 and plain.config.persist_state and plain.config.mpm.monitor == "auto"


def test_one_threshold_makes_the_others() -> None:
    """Warning is 80 % and emergency 120 % of it, as there."""
    limits = made("--memory-threshold", "1000").agents[0].thresholds
    assert [limits.warning_bytes >> 20, limits.critical_bytes >> 20, limits.emergency_bytes >> 20] == [800, 1000, 1200]


@pytest.mark.parametrize(
    ("words", "attempts", "cooldown"), [(["--max-restarts", "0"], 1_000_000, 30), (["--restart-cooldown", "900"], 3, 300)]
)
def test_values_that_mean_something_else_there(words: list[str], attempts: int, cooldown: int) -> None:
    """No limit is a very high one, and no cooldown is longer than the longest."""
    policy = made(*words).agents[0].restart_policy
    assert (policy.max_attempts, policy.initial_cooldown) == (attempts, cooldown)


def test_who_wins(tmp_path: Path) -> None:
    """The file, under its variables, under ours, under the options; what has no counterpart is told with its line."""
    pytest.importorskip("yaml")
    file = tmp_path / "memory_guardian.yaml"
    file.write_text("thresholds:\n  warning: 600\n  critical: 700\n  emergency: 950\nprocess:\n  args: [--from-file]\nstate_file: x\n")
    environ = {"CLAUDE_MPM_MEMORY_CRITICAL_MB": "800", "MEMORY_GUARDIAN_THRESHOLDS_WARNING": "500MiB"}
    run = made("--config", str(file), "--emergency-threshold", "900", command=["--last"], **environ)
    (agent,) = run.agents
    limits = (agent.thresholds.warning_bytes, agent.thresholds.critical_bytes, agent.thresholds.emergency_bytes)
    assert [limit >> 20 for limit in limits] == [500, 800, 900]
    assert agent.command.argv == ("claude", "--from-file", "--last") and run.file == str(file)
    assert any(note.startswith(f"{file}:7: state_file: no counterpart: ") for note in run.notes)
    file.write_text("thresholds:\n  warning: 100\n")
    assert run.again is not None
    assert run.again().agents[0].thresholds.warning_bytes >> 20 == 500  # ours overrides, also when it is read again
    assert run.again().agents[0].command.argv == ("claude", "--last")


def test_faults(tmp_path: Path) -> None:
    """All of them at once, each at its place."""
    pytest.importorskip("yaml")
    file = tmp_path / "f.yaml"
    file.write_text("monitoring:\n  check_interval: often\n")
    (tmp_path / "huge").write_text("x" * (LONGEST_PROMPT + 1))
    words = ("--config", str(file), "--memory-threshold", "much", "--max-restarts", "-1", "--websocket-port", "x")
    with pytest.raises(UsageError) as error:
        made(*words, "-i", str(tmp_path / "huge"), MEMORY_GUARDIAN_NOTHING="1")
    told = [str(fault).partition(": expected")[0] for fault in error.value.faults]
    assert f"{file}:2: monitoring.check_interval" in told
    assert {"--memory-threshold", "--max-restarts", "--websocket-port"} <= set(told)
    assert any(one.startswith("--input: is too long") for one in told) and any("MEMORY_GUARDIAN_NOTHING" in one for one in told)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "80/x", "8765@elsewhere", "x", ""])
def test_ports_that_are_none(port: str) -> None:
    """The option is named, and what it expects; nothing of it becomes a part of a URL."""
    with pytest.raises(UsageError) as error:
        made(f"--websocket-port={port}")
    assert [str(fault) for fault in error.value.faults] == [f"--websocket-port: expected a port from 1 to 65535, got {port!r}"]


@pytest.mark.parametrize("text", ["", "  ", "a\0b"])
def test_prompts_that_are_none(text: str) -> None:
    """Nothing is run without one that was asked for."""
    with pytest.raises(UsageError):
        made("-i", text)
