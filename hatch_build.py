"""Compile the launch helper and the sentry: hatchling's build hook, and ``python hatch_build.py`` for a source checkout.

Both are optional. Without a C compiler the build goes on without them and the wheel stays pure Python; at run time
`setpriv` takes the place of the one where there is one, and a shell that of the other.
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

SOURCES = tuple(Path("supervisor", "host", name) for name in ("_launch.c", "_sentry.c"))
FREESTANDING = (
    "-Os", "-static", "-nostdlib", "-nostartfiles", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-fno-pie", "-no-pie", "-s",
)  # fmt: skip
HOSTED = ("-O2", "-DHOSTED")


def compiler() -> list[str] | None:
    """The C compiler to use: ``$CC``, else the first of cc, gcc and clang; None when there is none."""
    named = os.environ.get("CC")
    candidates = [shlex.split(named)] if named else [["cc"], ["gcc"], ["clang"]]
    return next((words for words in candidates if words and shutil.which(words[0])), None)


def compile_programs(root: Path) -> list[Path]:
    """Compile what is to be compiled, in place.

    Args:
        root: The directory that holds the package `supervisor`.

    Returns:
        The executables, without those that this machine cannot build.
    """
    return [made for source in SOURCES if (made := compile_program(root / source)) is not None]


def compile_program(source: Path) -> Path | None:
    """Compile one program beside its source, freestanding if that works here, else on libc; None when neither does."""
    if os.name != "posix" or (words := compiler()) is None:
        return None
    target = source.with_suffix("")
    for flags in (FREESTANDING, HOSTED) if sys.platform == "linux" else (HOSTED,):
        made = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            line = [*words, *flags, "-o", str(made), str(source)]
            built = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, check=False)
            # 125 is their answer to a wrong command line: it runs on this machine
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

    class ProgramsHook(BuildHookInterface[Any]):
        """Put the compiled programs into the wheel, which is then tagged for this platform."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Called by hatchling before each build."""
            root = Path(self.root)
            if self.target_name != "wheel" or not (made := compile_programs(root)):
                return
            build_data["artifacts"] += [f"/{program.relative_to(root).as_posix()}" for program in made]
            if version != "editable":
                build_data["pure_python"] = False
                build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


if __name__ == "__main__":
    programs = compile_programs(Path(__file__).resolve().parent)
    print("built " + ", ".join(map(str, programs)) if programs else "nothing built: no C compiler that works here", file=sys.stderr)
