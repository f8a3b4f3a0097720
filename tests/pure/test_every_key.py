"""Every key of the configuration has a test that fails when the key is ignored; here is which.

A key that is added needs a line here, and with it the test that shows what it does. Defaults, rules and precedence are the affair of
`test_config.py`. To check a line, make the class forget what it is given: a field's `converter` that returns the default.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from supervisor.edge.config import Layout
from workers.config import MemoryGuardianConfig

TESTS = Path(__file__).resolve().parent.parent

EXITS = "e2e/test_guardian_exits.py"
MEMORY = "e2e/test_guardian_memory.py"
TOLD = "e2e/test_guardian_told.py"
TIMES = "virtual/test_guardian_keys.py"
REAL = "process/test_guardian_keys.py"
STATES = "e2e/test_states_commands.py"
MODES = "process/test_degradation.py"

SHOWN = {
    "guardian.enabled": f"{MEMORY}::test_watching_can_be_turned_off",
    "guardian.auto_start": f"{MEMORY}::test_watching_can_be_turned_off",
    "guardian.persist_state": f"{MEMORY}::test_state_can_be_turned_off",
    "guardian.state_dir": "process/test_guardian_api.py::test_it_runs_a_command_and_restarts_it_for_its_memory",
    "command.argv": f"{REAL}::test_a_command_has_its_environment_and_its_directory",
    "command.env": f"{REAL}::test_a_command_has_its_environment_and_its_directory",
    "command.working_directory": f"{REAL}::test_a_command_has_its_environment_and_its_directory",
    "command.name": f"{EXITS}::test_what_was_spent_outlives_the_run",
    "command.restart": f"{EXITS}::test_exit_codes_and_restarts",
    "command.ready": "e2e/test_guardian_faults.py::test_a_leaf_that_is_never_ready",
    "command.start_timeout": "e2e/test_guardian_faults.py::test_a_leaf_that_is_never_ready",
    "command.watchdog": "e2e/test_service_manager.py::test_a_silent_agent_is_restarted",
    "command.adopt": "process/test_guardian_api.py::test_one_that_was_adopted_is_restarted_as_the_command",
    "thresholds.warning": "e2e/test_guardian_restart.py::test_levels_change_in_order",
    "thresholds.critical": "e2e/test_guardian_restart.py::test_levels_change_in_order",
    "thresholds.emergency": f"{MEMORY}::test_an_emergency_does_not_wait",
    "restart.max_attempts": f"{TIMES}::test_so_many_attempts_within_a_window",
    "restart.attempt_window": f"{TIMES}::test_so_many_attempts_within_a_window",
    "restart.initial_cooldown": f"{TIMES}::test_the_pause_between_restarts_grows_to_its_bound",
    "restart.max_cooldown": f"{TIMES}::test_the_pause_between_restarts_grows_to_its_bound",
    "restart.cooldown_multiplier": f"{TIMES}::test_the_pause_between_restarts_grows_to_its_bound",
    "restart.graceful_timeout": f"{EXITS}::test_a_deaf_leaf_is_killed_and_the_run_goes_on",
    "restart.force_kill_timeout": f"{REAL}::test_how_long_a_killed_command_may_take",
    "restart.circuit_failures": f"{TIMES}::test_failures_in_a_row_open_the_circuit_for_its_time",
    "restart.circuit_reset": f"{TIMES}::test_failures_in_a_row_open_the_circuit_for_its_time",
    "restart.stability_period": f"{TIMES}::test_a_life_counts_as_stable_after_its_period",
    "restart.ineffective_window": f"{TIMES}::test_memory_that_is_back_within_the_window_is_a_failure",
    "restart.continue_prompt": "e2e/test_claude_code.py::test_who_works_on_one_task_is_told_to_go_on_with_it",
    "restart.end_tools": "process/test_tools_ended.py::test_it_can_be_turned_off",
    "restart.tool_timeout": "process/test_tools_ended.py::test_a_tool_without_time_is_killed",
    "monitoring.normal_interval": f"{TIMES}::test_the_interval_of_each_level",
    "monitoring.warning_interval": f"{TIMES}::test_the_interval_of_each_level",
    "monitoring.critical_interval": f"{TIMES}::test_the_interval_of_each_level",
    "monitoring.emergency_interval": f"{TIMES}::test_the_interval_of_each_level",
    "monitoring.critical_samples": f"{TIMES}::test_so_many_samples_at_critical",
    "monitoring.critical_grace": f"{TIMES}::test_a_turn_has_its_grace",
    "monitoring.capture_timeout": f"{TIMES}::test_a_capture_has_its_time",
    "monitoring.emergency_capture_timeout": f"{TIMES}::test_a_capture_has_its_time",
    "monitoring.host_reserve": f"{TIMES}::test_the_host_keeps_its_reserve",
    "monitoring.prediction_horizon": "virtual/test_guardian_foresight.py::test_without_a_horizon_critical_is_waited_for",
    "monitoring.blind_restart_after": f"{TIMES}::test_who_cannot_be_seen_is_restarted_after_a_time",
    "monitoring.restarts_at_once": "process/test_restarts_at_once.py::test_more_may_be_let_through",
    "health.interval": f"{REAL}::test_the_host_is_looked_at_unless_that_is_off",
    "health.cpu": f"{MODES}::test_every_limit_is_the_configured_one",
    "health.memory": f"{MODES}::test_the_verdict_is_an_event_and_asks_for_a_mode",
    "health.disk": f"{MODES}::test_every_limit_is_the_configured_one",
    "health.disk_free": f"{MODES}::test_every_limit_is_the_configured_one",
    "health.open_files": f"{MODES}::test_every_limit_is_the_configured_one",
    "health.threads": f"{MODES}::test_every_limit_is_the_configured_one",
    "health.host_warning": f"{MODES}::test_every_limit_is_the_configured_one",
    "health.host_critical": f"{MODES}::test_every_limit_is_the_configured_one",
    "health.host_emergency": f"{MODES}::test_every_limit_is_the_configured_one",
    "degradation.mode_cooldown": f"{MODES}::test_a_rung_is_held_for_its_cooldown",
    "degradation.signal": f"{TOLD}::test_a_leaf_hears_of_its_mode",
    "workers.isolation": "e2e/test_guardian_apart.py::test_a_leak_is_restarted_also_after_the_probe_was_killed",
    "hooks.on_event": f"{TOLD}::test_a_hook_is_told_everything_in_order",
    "hooks.timeout": f"{TOLD}::test_a_hook_that_hangs_is_ended",
    "hooks.concurrency": f"{REAL}::test_so_many_hooks_run_at_once",
    "hooks.summarizer": "e2e/test_states_summary.py::test_a_command_of_the_users_in_place_of_ours",
    "hooks.summarizer_timeout": "e2e/test_states_summary.py::test_one_that_takes_too_long_is_ended",
    "hooks.claude_code": "pure/test_claude_hook_events.py::test_which_are_events",
    "mpm.monitor": "process/test_monitor.py::test_where_it_is_said_to_be",
    "notifications.desktop": f"{TOLD}::test_the_desktop_is_told",
    "encryption.key": "process/test_state_worker.py::test_what_is_captured_is_encrypted_where_that_is_configured",
    "state.max_age_days": f"{STATES}::test_every_limit_is_the_configured_one",
    "state.max_states": f"{STATES}::test_every_limit_is_the_configured_one",
    "state.max_size": f"{STATES}::test_every_limit_is_the_configured_one",
    "agents": f"{MEMORY}::test_two_agents",
    "platform": "pure/test_config.py::test_a_platform_section_applies_on_its_platform_only",
}


def keys() -> set[str]:
    """All keys that a file can have, the lists of tables and the platforms as one each."""
    layout = Layout.of(MemoryGuardianConfig)
    own = {f"{table}.{key}" for table, kinds in layout.tables.items() for key in kinds}
    return own | set(layout.lists) | ({layout.platform} if layout.platform else set())


@cache
def named_in(file: str) -> set[str]:
    """The functions of a module."""
    body = ast.parse((TESTS / file).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_key_has_its_test() -> None:
    """None is missing, and none is named that does not exist."""
    assert set(SHOWN) == keys()


@pytest.mark.parametrize("key", sorted(SHOWN))
def test_the_test_of_a_key_exists(key: str) -> None:
    """A test that was renamed or removed is missed here."""
    file, _, name = SHOWN[key].partition("::")
    assert name in named_in(file), f"{key}: {SHOWN[key]}"
