"""Compile the launch helper: hatchling's build hook, and ``python hatch_build.py`` for a source checkout.

The helper is optional. Without a C compiler the build goes on without it and the wheel stays pure Python; at run time
`setpriv` takes its place where there is one.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

SOURCE = Path("supervisor") / "host" / "_launch.c"
FREESTANDING = (
    "-Os", "-static", "-nostdlib", "-nostartfiles", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-fno-pie", "-no-pie", "-s",
)  # fmt: skip
HOSTED = ("-O2", "-DHOSTED")


def compiler() -> list[str] | None:
    """The C compiler to use: ``$CC``, else the first of cc, gcc and clang; None when there is none."""
    named = os.environ.get("CC")
    candidates = [shlex.split(named)] if named else [["cc"], ["gcc"], ["clang"]]
    return next((words for words in candidates if words and shutil.which(words[0])), None)


def compile_helper(root: Path) -> Path | None:
    """Compile the helper in place, freestanding if that works here, else on libc.

    Args:
        root: The directory that holds the package `supervisor`.

    Returns:
        The executable, or None when this machine cannot build it.
    """
    if os.name != "posix" or (words := compiler()) is None:
        return None
    source = root / SOURCE
    target = source.with_suffix("")
    for flags in (FREESTANDING, HOSTED) if sys.platform == "linux" else (HOSTED,):
        made = target.with_name(f"_launch.{os.getpid()}")
        try:
            line = [*words, *flags, "-o", str(made), str(source)]
            built = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, check=False)
            # 125 is its answer to a wrong command line: it runs on this machine
            if built.returncode == 0 and subprocess.run([str(made)], check=False).returncode == 125:
                made.replace(target)
                return target
        except OSError:
            continue  # a compiler that cannot be run, or makes what cannot be run, is no compiler
        finally:
            made.unlink(missing_ok=True)
    return None


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run by hand, without the build backend
    pass
else:

    class LaunchHelperHook(BuildHookInterface[Any]):
        """Put the compiled helper into the wheel, which is then tagged for this platform."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Called by hatchling before each build."""
            if self.target_name != "wheel" or compile_helper(Path(self.root)) is None:
                return
            build_data["artifacts"].append(f"/{SOURCE.with_suffix('').as_posix()}")
            if version != "editable":
                build_data["pure_python"] = False
                build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


if __name__ == "__main__":
    helper = compile_helper(Path(__file__).resolve().parent)
    print(f"built {helper}" if helper else "no launch helper: no C compiler that works here", file=sys.stderr)
