"""What the tests with real processes can ask for: the ways in which a leaf is enclosed."""

from __future__ import annotations

import os
from typing import Literal

import pytest

from supervisor.host import launching
from supervisor.host.cgroup import offer
from supervisor.host.launching import Mechanism

Enclosed = Literal["auto", "never"]


@pytest.fixture(params=["never", "v2", "freezer"])
def cgroup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Enclosed:
    """The argument of `command` for a leaf without a cgroup, with one of version 2, and with one of version 1: all keep what is claimed."""
    if request.param == "never":
        return "never"
    use_hierarchy(request.param, monkeypatch)
    return "auto"


@pytest.fixture(params=list(Mechanism))
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Mechanism:
    """Every way of launching that this host has."""
    wanted: Mechanism = request.param
    if wanted is Mechanism.HELPER and launching._best() is not Mechanism.HELPER:
        pytest.skip("the launch helper is not built")
    if wanted is Mechanism.SETPRIV and launching._without_helper() is not Mechanism.SETPRIV:
        pytest.skip("no setpriv here")
    monkeypatch.setattr(launching, "_chosen", wanted)
    return wanted


@pytest.fixture(params=["v2", "freezer"])
def hierarchy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Version 2, and version 1 as if there was nothing else."""
    name: str = request.param
    use_hierarchy(name, monkeypatch)
    return name


def use_hierarchy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Track leaves in this hierarchy, or skip the test where that cannot be done here."""
    found = offer.look(name)
    if found.tracking is None:
        pytest.skip(f"no cgroups of {name} here: {found.missing['']}")
    monkeypatch.setattr(offer, "_offer", (os.getpid(), found))
