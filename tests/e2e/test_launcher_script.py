"""The installed script and ``python -m supervisor``, from directories that hold modules of our names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from ..support import ROOT, run_supervisor, running

HIJACK = "import os\nopen('HIJACKED', 'w').close()\nos._exit(99)\n"
NAMES = ("supervisor", "workers", "trio", "anyio", "attrs", "attr", "cattrs", "json", "psutil", "platformdirs")


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script ``memory-guardian``: that of the environment the tests run in, or one as an installer makes it, in a fresh environment."""
    installed = Path(sys.executable).with_name("memory-guardian")
    if installed.exists():
        asked = subprocess.run([installed, "--version"], capture_output=True, text=True, check=True)
        if f"({ROOT})" in asked.stdout:
            return installed
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    module, function = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["memory-guardian"].split(":")
    asked = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    )
    libraries = [str(ROOT), *dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))]
    Path(asked.stdout.strip(), "tested.pth").write_text("\n".join(libraries) + "\n")
    made = folder / "bin" / "memory-guardian"
    made.write_text(f"#!{python}\nimport sys\nfrom {module} import {function}\nif __name__ == '__main__':\n    sys.exit({function}())\n")
    made.chmod(0o755)
    return made


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory with modules and packages of names that we import; whoever imports one is caught."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(HIJACK)
    for name in ("supervisor", "workers"):
        (tmp_path / name).mkdir()
        for module in ("__init__", "__main__", "guardian"):
            (tmp_path / name / f"{module}.py").write_text(HIJACK)
    return tmp_path


def test_the_script_is_not_fooled(script: Path, backend: str, hostile: Path) -> None:
    """Nothing of the current directory is imported, neither at the start nor late; the command runs there all the same."""
    options = (
        "--backend",
        backend,
        "--state-dir",
        hostile / "state",
        "--interval",
        "0.02",
        "--warning",
        "16KiB",
        "--critical",
        "2GiB",
        "--events",
        "events",
    )
    # until a capture has made it import everything there is
    wait = "n=0; until grep -q state_captured events || [ $n -ge 500 ]; do n=$((n+1)); sleep 0.02; done; pwd"
    with running(script, *options, "--", "sh", "-c", wait, cwd=hostile, env={"PYTHONPATH": None}) as program:
        finished = program.wait()

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == os.path.realpath(hostile)
    assert "state captured" in finished.stderr
    assert not (hostile / "HIJACKED").exists()


def test_the_script_is_the_module(script: Path, tmp_path: Path) -> None:
    """Both say the same, each under its own name; the exit code is passed on."""
    with running(script, "--", "sh", "-c", "exit 5", cwd=tmp_path) as program:
        assert program.wait().returncode == 5
    with running(script, "--waring", "3", "--", "true", cwd=tmp_path) as program:
        refused = program.wait()
    told = run_supervisor("--waring", "3", "--", "true", cwd=tmp_path)

    assert refused.returncode == told.returncode == 2
    assert refused.stderr.replace("memory-guardian:", "python -m supervisor:") == told.stderr


def test_the_module_is_not_fooled(backend: str, tmp_path: Path) -> None:
    """``python -m supervisor`` imports nothing from where it was called (but the package itself, which Python looks for there first)."""
    for name in NAMES:
        if name != "supervisor":
            (tmp_path / f"{name}.py").write_text(HIJACK)
    finished = run_supervisor("--backend", backend, "--", "sh", "-c", "exit 3", cwd=tmp_path)

    assert finished.returncode == 3, finished.stderr
    assert not (tmp_path / "HIJACKED").exists()
