"""What a command may be limited to, and what is refused with the name of the field and what it expects."""

from __future__ import annotations

import math

import pytest

from supervisor import BadCombination, InvalidField, Limits, command
from supervisor.host.cgroup.quota import all_fields, controllers_for, files_of


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("memory_max", 4095, "4096"),
        ("memory_max", "1G", "bytes"),
        ("memory_high", 0, "4096"),
        ("cpu_quota", 0.001, "0.01"),
        ("cpu_quota", math.inf, "processors"),
        ("cpu_quota", math.nan, "processors"),
        ("cpu_quota", True, "processors"),
        ("memory_max", 2**63, "below 2**63"),
        ("memory_high", 2**80, "below 2**63"),
        ("cpu_quota", 1e300, "10,000"),
        ("pids_max", 2**70, "below 2**63"),
        ("core", 2**63, "below 2**63"),
        ("core", 2**64 + 512, "below 2**63"),
        ("pids_max", 0, ">= 1"),
        ("pids_max", 2.0, "processes"),
        ("nofile", 3, ">= 4"),
        ("nofile", 2**31, ">= 4"),
        ("core", -1, "math.inf"),
        ("core", 1.5, "math.inf"),
        ("oom_score_adj", 1001, "-1000 to 1000"),
        ("nice", 20, "-20 to 19"),
        ("umask", 0o1000, "0o777"),
        ("user", "", "name"),
        ("user", "a\0b", "name"),
        ("user", -1, "id"),
        ("group", 2**32 - 1, "id"),  # the kernel's "leave it as it is"
        ("group", 1.0, "id"),
        ("required", "yes", "True or False"),
    ],
)
def test_illegal_value_is_refused(field: str, value: object, expected: str) -> None:
    """The error names the place and the remedy."""
    with pytest.raises(InvalidField, match=f"limits.*{field}") as caught:
        Limits(**{field: value})  # type: ignore[arg-type]
    assert expected in str(caught.value)


def test_limits_that_contradict_each_other() -> None:
    """Who is slowed down only beyond the size at which he is killed is never slowed down."""
    Limits(memory_max=8192, memory_high=8192)
    with pytest.raises(BadCombination, match="memory_high must not be beyond memory_max"):
        Limits(memory_max=8192, memory_high=8193)


@pytest.mark.parametrize("limits", [Limits(memory_max=8192), Limits(memory_high=8192), Limits(cpu_quota=1), Limits(pids_max=1)])
def test_limits_of_a_whole_tree_take_a_cgroup(limits: Limits) -> None:
    """Nobody gets less than he asked for without hearing of it."""
    assert limits.needs_cgroup
    with pytest.raises(BadCombination, match='cgroup = "auto"'):
        command("true", limits=limits, cgroup="never")


def test_what_a_process_has_for_itself_takes_no_cgroup() -> None:
    """The other limits are inherited."""
    limits = Limits(nofile=64, core=math.inf, oom_score_adj=-1000, nice=-20, umask=0, user=0, group="root", required=False)
    assert not limits.needs_cgroup
    assert command("true", limits=limits, cgroup="never").limits is limits


def test_a_command_takes_limits_and_nothing_else() -> None:
    """A dict would be taken for one soon."""
    with pytest.raises(InvalidField, match=r"limits.*Limits\(...\)"):
        command("true", limits={"nofile": 64})  # type: ignore[arg-type]
    with pytest.raises(InvalidField, match=r'cgroup.*"auto", "memory" or "never"'):
        command("true", cgroup="always")  # type: ignore[arg-type]


def test_files_of_both_versions() -> None:
    """What is written for each limit."""
    limits = Limits(memory_max=64 << 20, memory_high=48 << 20, cpu_quota=1.5, pids_max=32, nofile=64)

    assert [dict(files_of(limits, name, 2)) for name in ("memory", "cpu", "pids")] == [
        {"memory.high": "50331648", "memory.max": "67108864"},
        {"cpu.max": "150000 100000"},
        {"pids.max": "32"},
    ]
    assert [dict(files_of(limits, name, 1)) for name in ("memory", "cpu", "pids")] == [
        {"memory.soft_limit_in_bytes": "50331648", "memory.limit_in_bytes": "67108864"},
        {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"},
        {"pids.max": "32"},
    ]
    assert files_of(Limits(cpu_quota=0.01), "cpu", 2) == [("cpu.max", "1000 100000")]  # the least that the kernel takes
    assert [files_of(Limits(), name, 2) for name in ("memory", "cpu", "pids")] == [[], [], []]
    assert controllers_for(limits) == ["memory", "cpu", "pids"] and all_fields(limits) == [
        "memory_max",
        "memory_high",
        "cpu_quota",
        "pids_max",
    ]
    assert controllers_for(Limits(nofile=64)) == controllers_for(None) == all_fields(None) == []
