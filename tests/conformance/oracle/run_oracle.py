"""Run scenarios (JSON lines) through the real Erlang/OTP supervisor.

    python -m tests.conformance.oracle.run_oracle SCENARIOS.jsonl [TRACES.jsonl] [--erl CMD] [--erl-args "..."]

Needs an Erlang runtime with erlc (Debian: apt-get install erlang-base). `--check` runs everything twice and fails where a trace differs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent / "sup_oracle.erl"

TIMEOUT = 600.0


def release(erl: Sequence[str] = ("erl",)) -> int | None:
    """The release of Erlang/OTP that is here, such as 25; None where there is none."""
    if shutil.which(erl[0]) is None:
        return None
    ask = "io:put_chars(erlang:system_info(otp_release)), halt()."
    told = subprocess.run([*erl, "-noshell", "-eval", ask], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return int(told.stdout)


def term(value: Any) -> str:
    """JSON value -> Erlang term (strings as binaries, keys as atoms)."""
    if value is True or value is False:
        return str(value).lower()
    if value is None:
        return "undefined"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'<<"{value}">>'
    if isinstance(value, list):
        return "[" + ",".join(map(term, value)) + "]"
    return "#{" + ",".join(f"{k} => {term(v)}" for k, v in value.items()) + "}"


def run(
    scenarios: Sequence[dict[str, Any]],
    *,
    erl: Sequence[str] = ("erl",),
    erlc: Sequence[str] = ("erlc",),
    extra: Sequence[str] = (),
    timeout: float = TIMEOUT,
) -> list[dict[str, Any]]:
    """What Erlang writes about each scenario: its id, the OTP release and the trace.

    Raises:
        CalledProcessError: A scenario was stuck, or left processes behind; Erlang has said which on stderr.
        TimeoutExpired: It took more than `timeout` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        work = Path(folder)
        subprocess.run([*erlc, "-o", str(work), str(SOURCE)], check=True)
        (work / "in.terms").write_text("".join(term(scenario) + ".\n" for scenario in scenarios))
        # one scheduler: with two, the order in which deaths are heard of is not causal
        command = [*erl, "+S", "1:1", *extra, "-noshell", "-pa", str(work), "-s", "sup_oracle", "main"]
        command += ["-extra", str(work / "in.terms"), str(work / "out.jsonl")]
        subprocess.run(command, check=True, timeout=timeout, stdin=subprocess.DEVNULL)
        answers = [json.loads(line) for line in (work / "out.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [scenario["id"] for scenario in scenarios]
    return answers


def main() -> int:
    ap = argparse.ArgumentParser()
    ap.add_argument("scenarios", type=Path)
    ap.add_argument("traces", type=Path, nargs="?")
    ap.add_argument("--erl", default="erl")
    ap.add_argument("--erlc", default="erlc")
    ap.add_argument("--erl-args", default="")
    ap.add_argument("--timeout", type=float, default=TIMEOUT)
    ap.add_argument("--check", action="store_true")
    args = ap.parse_args()
    scenarios = [json.loads(line) for line in args.scenarios.read_text().splitlines() if line.strip()]
    options: dict[str, Any] = {"erl": shlex.split(args.erl), "erlc": shlex.split(args.erlc), "extra": shlex.split(args.erl_args)}
    options["timeout"] = args.timeout
    began = time.perf_counter()
    first = run(scenarios, **options)
    print(f"{len(first)} scenarios, OTP {first[0]['otp']}, {time.perf_counter() - began:.2f} s", file=sys.stderr)
    if args.traces:
        args.traces.write_text("".join(json.dumps(answer, separators=(",", ":")) + "\n" for answer in first))
    if args.check:
        second = run(scenarios, **options)
        bad = [a["id"] for a, b in zip(first, second, strict=True) if a["trace"] != b["trace"]]
        print(f"second run: {len(bad)} traces differ {bad[:5]}", file=sys.stderr)
        return 1 if bad else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
