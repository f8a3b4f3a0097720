"""Another way to say ``run``, with options of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..core.value import Value

if TYPE_CHECKING:
    import argparse


@attrs.frozen(repr=False, eq=False)
class RunCommand(Value):
    """A subcommand that runs the application, as ``run`` does.

    Attributes:
        usage: What follows its name.
        description: What it does.
        add_options: Adds its options; those of the event loop are there already.
        configure: As `Application.configure`, from these options; `options.command` is what follows after ``--``,
            None where there is none.
    """

    usage: str
    description: str
    add_options: Callable[[argparse.ArgumentParser], None]
    configure: Callable[[argparse.Namespace, Mapping[str, str]], Any]
