"""Recorded memory: the recorder writes what the guardian's reader reads, and the traces that are kept are whole."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.traces import GROWING, PACES, RUNTIMES, STEADY, recorded
from benchmarks.traces.recording import record

MIB = 1024 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_is_recorded(runtime: str, tmp_path: Path) -> None:
    """One file for each program, a row for each reading of one that is up; both are gone afterwards (the leak check sees to that)."""
    if runtime == "node" and shutil.which("node") is None:
        pytest.skip("needs node")
    files = record([(runtime, "plateau", 1), (runtime, "line", 2)], seconds=2.0, folder=tmp_path, pace=0.1)

    assert [file.name for file in files] == [f"{runtime}-plateau-1.csv", f"{runtime}-line-2.csv"]
    head, *rows = files[0].read_text().splitlines()
    assert head == "seconds,kib"
    assert len(rows) >= 2
    # what the runtime itself takes: how far its program gets is the host's matter
    assert min(int(row.split(",")[1]) for row in rows) > 3 * 1024


def test_a_program_that_does_not_begin_is_not_recorded(tmp_path: Path) -> None:
    """That is an error, and no trace of nothing."""
    with pytest.raises(ChildProcessError, match="python-nonsense-1 has ended before it was up"):
        record([("python", "plateau", 1), ("python", "nonsense", 1)], seconds=1.0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_recorded_traces_are_whole() -> None:
    """Each shape of each runtime at least once in each folder, 400 samples or more over 19 minutes or more, in the order of time."""
    traces = recorded()

    assert {trace.name.rpartition("-")[0] for trace in traces} == {
        f"{folder}/{runtime}-{shape}" for folder in PACES for runtime in RUNTIMES for shape in (*GROWING, *STEADY)
    }
    for trace in traces:
        times = [at for at, _ in trace.samples]
        assert times == sorted(set(times)), trace.name
        assert len(times) >= 400 and times[-1] - times[0] >= 19 * 60, trace.name
        assert trace.grows is (trace.family in GROWING)
        assert max(total for _, total in trace.samples) < 200 * MIB
