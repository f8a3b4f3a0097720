"""The benchmarks themselves: each still runs, and what they report is what they measured."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import SUITE, claude, claude_restart
from benchmarks.figures import Effort, Figure, Peer, Summary, at_most, at_most_above, at_most_times, interleaved, per_item
from benchmarks.otp import otp
from benchmarks.report import amount, spread, table

from ..support import ROOT, Finished, running

linux = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")
erlang = pytest.mark.skipif(not (shutil.which("erl") and shutil.which("erlc")), reason="needs Erlang")


def run_benchmarks(*arguments: str | Path, env: Mapping[str, str | None] | None = None) -> Finished:
    with running(sys.executable, "-m", "benchmarks", *arguments, cwd=ROOT, env=env) as program:
        return program.wait(90)


@linux
@pytest.mark.deadline(100)
@pytest.mark.parametrize("name", SUITE)
def test_each_benchmark_runs(name: str, tmp_path: Path) -> None:
    """With hardly any effort each benchmark yields figures, in the table and as JSON, and leaves nothing behind."""
    file = tmp_path / "figures.json"
    finished = run_benchmarks("--smoke", "--json", file, name)

    assert finished.returncode == 0, finished.stderr
    written = json.loads(file.read_text())
    assert written["failed"] == []
    figures = [Figure.from_data(data) for data in written["figures"][name]]
    assert figures
    assert all(figure.ours.count >= 1 and figure.ours.low <= figure.ours.median <= figure.ours.high for figure in figures)
    assert all(figure.name in finished.stdout for figure in figures)
    assert [data["met"] for data in written["figures"][name]] == [figure.met for figure in figures]


@linux
@pytest.mark.deadline(100)
@pytest.mark.parametrize("name", ["task_children", "dynamic_children", "task_restart"])
def test_without_erlang_its_figures_are_left_out(name: str, tmp_path: Path) -> None:
    """Where there is no Erlang the rest is measured, nothing stands beside Erlang's name, and a word says so."""
    file = tmp_path / "figures.json"
    finished = run_benchmarks("--smoke", "--json", file, name, env={"PATH": str(tmp_path)})

    assert finished.returncode == 0, finished.stderr
    assert "no Erlang here" in finished.stderr
    figures = [Figure.from_data(data) for data in json.loads(file.read_text())["figures"][name]]
    assert figures
    assert not [peer.name for figure in figures for peer in figure.peers if "OTP" in peer.name]


@linux
def test_without_claude_code_its_figures_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is measured where none is installed, and a word says what installs it."""
    monkeypatch.setattr(claude, "ROOT", tmp_path)
    (figure,) = claude_restart.measure(Effort.SMOKE)
    told = capsys.readouterr().err
    assert "no program" in figure.name and figure.target is None
    assert [line.partition(":")[2].strip() for line in told.splitlines()] == ["tools/install-optional.sh claude"] * 2


@erlang
def test_erlang_measures_on_command() -> None:
    """Each command is answered with as many integers above zero as were asked for; the node ends with the block."""
    with otp() as node:
        assert node is not None
        assert node.name == f"OTP {node.ask('release')[0]}"
        for kind in ("static", "dynamic"):
            (started,), (stopped,), (weight,) = node.ask("start", kind, 20), node.ask("stop"), node.ask("weigh", kind, 2000)
            assert min(started, stopped) > 0
            assert weight > 2000 * 300
        assert node.ask("open", "window", 3, 3600) == []
        for way in ("kill", "fail", "kill"):
            samples = node.microseconds(way, "window", 5)
            assert len(samples) == 5
            assert min(samples) > 0
        assert node.ask("close", "window") == []
        assert node.ask("relapse", 20)[0] > 0


@erlang
def test_an_error_in_erlang_ends_the_benchmark() -> None:
    """A command that Erlang cannot do is an error here and no endless wait."""
    with otp() as node:
        assert node is not None
        with pytest.raises(RuntimeError, match="Erlang ended at"):
            node.ask("start", "static", "many")


def test_every_benchmark_is_in_the_suite() -> None:
    """A module with a ``measure`` is in the suite, and what is in the suite is such a module."""
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "\ndef measure(" in path.read_text()}

    assert modules == set(SUITE)


def test_an_unknown_benchmark_is_a_usage_error() -> None:
    """A name that is none is told, together with the ones there are."""
    finished = run_benchmarks("memory_chek")

    assert finished.returncode == 2
    assert "memory_chek" in finished.stderr
    assert "memory_check" in finished.stderr


def test_samples_are_condensed() -> None:
    """Median, 99th percentile and range are those of the samples, in whatever order they came."""
    assert Summary.of([5.0]) == Summary(5.0, 5.0, 5.0, 5.0, 1)
    assert Summary.of([float(value) for value in range(200, 0, -1)]) == Summary(100.5, 198.0, 1.0, 200.0, 200)


def test_a_target_is_met_at_its_limit() -> None:
    """A median that is just the limit meets an absolute target, a multiple of a peer, and a distance from one."""
    ours, peer = Summary.of([6.0]), Peer("floor", Summary.of([3.0]))
    for target in (at_most(6, "us"), at_most_times(2, peer), at_most_above(3, "us", peer)):
        assert Figure("figure", "us", ours, (peer,), target).met is True
        assert Figure("figure", "us", Summary.of([6.01]), (peer,), target).met is False
    assert Figure("figure", "us", ours).met is None


def test_warming_up_does_not_count() -> None:
    """The first round of interleaved calls is left out, and each call is made as often as was said."""
    calls: list[str] = []
    taken = interleaved({"a": (lambda: calls.append("a"), 2), "b": (lambda: calls.append("b"), 1)}, rounds=2)

    assert calls == ["a", "a", "b"] * 3
    assert (taken["a"].count, taken["b"].count) == (4, 2)
    assert per_item({"c": lambda: None}, items=10, rounds=3)["c"].count == 3


def test_the_table_shows_each_peer_and_whether_the_target_is_met() -> None:
    """A figure takes one line for each peer; the ratio is ours to the peer's, and a missed target stands out."""
    peer = Peer("floor", Summary.of([2.0]))
    missed = Figure("slow thing", "ms", Summary.of([5.0]), (peer, Peer("other", Summary.of([10.0]))), at_most_times(2, peer))
    lines = table([("bench: a thing", [missed])]).splitlines()

    assert "bench: a thing" in lines
    assert lines[-2].split() == ["slow", "thing", "5.00", "ms", "floor", "2.00", "2.50", "<=", "2", "x", "floor", "NO"]
    assert lines[-1].split() == ["other", "10.0", "0.50"]


def test_the_spread_is_a_percentile_only_where_there_are_samples_enough() -> None:
    """Few samples show their range, a single one nothing."""
    assert spread(Summary.of([1.0])) == ""
    assert spread(Summary.of([1.0, 20.0])) == "1.00 .. 20.0"
    assert spread(Summary.of([float(value) for value in range(1, 101)])) == "p99 99.0"
    assert [amount(value) for value in (0.01234, 0.5, 12.345, 1234.5)] == ["0.0123", "0.50", "12.3", "1,234"]


def test_figures_survive_as_data() -> None:
    """What is written as JSON is read again as the same figure."""
    peer = Peer("floor", Summary.of([1.0, 2.0]))
    for figure in (Figure("a", "us", Summary.of([1.0])), Figure("b", "us", Summary.of([3.0]), (peer,), at_most_times(2, peer))):
        assert Figure.from_data(json.loads(json.dumps(figure.as_data()))) == figure
    assert [effort.pick(1, 2, 3) for effort in (Effort.FULL, Effort.QUICK, Effort.SMOKE)] == [1, 2, 3]
