"""The subcommand ``states``: what was captured, listed, shown, compared, exported, restored and pruned. No guardian has to run."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import CommandContext, Fault, UsageError, Value, add_json

from .config import MemoryGuardianConfig
from .config.captured import configure_states
from .state import view
from .state.files import StateWriteFailed, project_key, write_atomic
from .state.index import StateEntry
from .state.keys import KeyUnavailable
from .state.model import StateInvalid
from .state.restore import RestoreRefused, restoration
from .state.retention import prune, retention_of
from .state.seal import seal_of
from .state.selection import LATEST, NoSuchState, chosen, listings, newest_first
from .state.store import StateStore, StateUnreadable
from .state.summary import DEFAULT_BUDGET

if TYPE_CHECKING:
    import argparse

    from .state.model import CompleteState
    from .state.summarizer import Summary

SHORTEST_SUMMARY: Final = 256
LONGEST_SUMMARY: Final = 1 << 20
"""Bytes: a digest has no more."""


@attrs.frozen(repr=False, eq=False)
class Action(Value):
    """One of ``states``.

    Attributes:
        usage: What follows its name.
        description: What it does.
        add_options: Adds what it alone takes.
        run: Does it; returns the exit code.
    """

    usage: str
    description: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[States], int]


class States:
    """One invocation: where the states are, and what is asked of them.

    Raises:
        UsageError: All faults of the configuration.
        KeyUnavailable: A key is configured and cannot be had.
    """

    def __init__(self, context: CommandContext, options: argparse.Namespace) -> None:
        self.context, self.options = context, options
        limits = {name: getattr(options, name, None) for name in ("max_age_days", "max_states", "max_size")}
        self.config: MemoryGuardianConfig
        self.config, self.state_dir = configure_states(options.config, context.environ, state_dir=options.state_dir, **limits)
        # a key that is yet to be made cannot be read
        is_first = options.action == "rekey" and options.new_key
        self.store = StateStore(self.state_dir, None if is_first else seal_of(self.config.encryption, context.environ))
        self.project = os.path.realpath(options.project)
        self.key = project_key(self.project)

    def entries(self, *, everywhere: bool) -> list[StateEntry]:
        """Those of the project, or of all of them; the newest first."""
        found = listings(self.store, self.store.keys() if everywhere else (self.key,))
        for unkept in (one.unkept for one in found if one.unkept is not None):
            self.context.refuse(f"the index is not kept, so the next listing takes as long: {unkept}")
        return newest_first((entry for one in found for entry in one.entries), self.options.agent)

    def chosen(self, name: str, place: str = "STATE") -> StateEntry:
        """The state that is meant; `place` is what it is called in the usage.

        Raises:
            UsageError: There is none, or it could be several.
        """
        try:
            return chosen(self.store, self.key, name, self.options.agent)
        except NoSuchState as error:
            raise UsageError([Fault(place, f"{error}; {self._lists}")]) from error

    @property
    def _lists(self) -> str:
        return f"{self.context.program} states list --all says which there are in {self.state_dir}"


def run(context: CommandContext, options: argparse.Namespace) -> int:
    """Do what is asked for.

    Returns:
        The exit code: 1 when a state cannot be used or restored, or something cannot be written.

    Raises:
        UsageError: It cannot be meant so.
    """
    action = ACTIONS[options.action]
    try:
        return action.run(States(context, options))
    except (KeyUnavailable, RestoreRefused, StateUnreadable, StateWriteFailed) as error:
        return context.refuse(str(error))
    except OSError as error:
        return context.refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    for name, action in ACTIONS.items():
        own = actions.add_parser(
            name,
            help=action.description,
            description=action.description,
            prog=f"{parser.prog} states {name}",
            usage=f"%(prog)s {action.usage}",
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        action.add_options(own)
        own.add_argument("--project", metavar="DIR", default=".", help="the project; default: the current directory")
        own.add_argument("--agent", metavar="NAME", help="only states of this agent")
        own.add_argument("--state-dir", metavar="DIR", help="where captured state is kept")
        own.add_argument("--config", metavar="FILE", help="the configuration that says so")
        add_json(own)


def _list(states: States) -> int:
    everywhere = states.options.all
    entries = states.entries(everywhere=everywhere)
    if states.options.json:
        data = {"state_dir": states.state_dir, "states": [view.entry_data(entry) for entry in entries]}
        states.context.tell(states.options, data, "")
    elif entries:
        rows = view.entry_rows(entries, projects=everywhere)
        states.context.tell(states.options, None, states.context.table(rows, right=(4,), spared=(3, 4), cut=5))
    else:
        of = f"in {states.state_dir}" if everywhere else f"of {states.project}; --all lists those of all projects"
        states.context.tell(states.options, None, f"no states {of}")
    return 0


def _show(states: States) -> int:
    budget = _budget(states)
    entry = states.chosen(states.options.state)
    state = states.store.load(entry.path)
    if budget:
        return _summarize(states, state, budget)
    states.context.tell(states.options, state.to_dict(), view.shown(state, str(entry.path), entry.size_bytes, time.time()))
    return 0


def _diff(states: States) -> int:
    before, after = (
        states.store.load(states.chosen(name, place).path)
        for name, place in ((states.options.before, "BEFORE"), (states.options.after, "AFTER"))
    )
    found = view.differences(before, after)
    data = {"before": before.metadata.state_id, "after": after.metadata.state_id, "differences": found}
    states.context.tell(states.options, data, view.differing(before, after, found))
    return 0


def _export(states: States) -> int:
    options = states.options
    if options.force and options.output is None:
        raise UsageError([Fault("--force", "is for --output FILE")])
    budget = _budget(states)
    state = states.store.load(states.chosen(options.state).path)
    if budget and options.output is None:
        return _summarize(states, state, budget)
    data = state.to_dict()
    if options.output is None:
        states.context.tell(options, data, json.dumps(data, indent=2))
        return 0
    path = Path(os.path.abspath(options.output))
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        # it would be replaced, and what is a device, a link or a pipe is there for others
        raise UsageError([Fault("--output", f"{options.output!r} is no regular file")])
    if os.path.lexists(path) and not options.force:
        raise UsageError([Fault("--output", f"{options.output!r} is there already; --force overwrites it")])
    if not path.parent.is_dir():
        raise UsageError([Fault("--output", f"{str(path.parent)!r} is no directory")])
    if budget:
        made = _summary(states, state, budget)
        if made is None:
            return 1
        write_atomic(path, f"{made.text.rstrip()}\n".encode())
    else:
        write_atomic(path, json.dumps(data, indent=2).encode() + b"\n")
    told = {"state_id": data["metadata"]["state_id"], "file": str(path)}
    states.context.tell(options, told, f"{told['state_id']} is exported to {path}, without encryption, readable by you alone")
    return 0


def _budget(states: States) -> int:
    """Bytes that a summary may have; 0 where none is asked for.

    Raises:
        UsageError: It is no such number, or no summary is asked for.
    """
    options = states.options
    if options.budget is not None and not options.summary:
        raise UsageError([Fault("--budget", "is for --summary")])
    given = str(DEFAULT_BUDGET) if options.budget is None else options.budget
    if not (given.isascii() and given.isdecimal() and len(given) <= 9 and SHORTEST_SUMMARY <= int(given) <= LONGEST_SUMMARY):
        raise UsageError([Fault("--budget", f"expected bytes, {SHORTEST_SUMMARY} to {LONGEST_SUMMARY}, got {given[:60]!r}")])
    return int(given) if options.summary else 0


def _summary(states: States, state: CompleteState, budget: int) -> Summary | None:
    from .state.summarizer import summary_of

    made = summary_of(state, states.config.hooks, budget)
    if made is None:
        states.context.refuse(f"{state.metadata.state_id} has no conversation that could be summarized")
    elif made.fault is not None:
        states.context.refuse(f"hooks.summarizer is not used, this is the program's own summary: {made.fault}")
    return made


def _summarize(states: States, state: CompleteState, budget: int) -> int:
    made = _summary(states, state, budget)
    if made is None:
        return 1
    data = {"state_id": state.metadata.state_id, "summary": made.text, "is_own": made.is_own, "fault": made.fault}
    states.context.tell(states.options, data, made.text.rstrip())
    return 0


def _restore(states: States) -> int:
    options = states.options
    asked = [name for name in ("shell", "json", "transcript") if getattr(options, name)]
    if options.shell and len(asked) > 1:
        raise UsageError([Fault("--shell", f"only says what a shell is to do; leave out --{asked[1]}")])
    if options.force and not options.transcript:
        raise UsageError([Fault("--force", "is for --transcript")])
    entry = states.chosen(options.state)
    wrong = states.store.untrusted(entry.key)
    if wrong:
        return states.context.refuse(f"{entry.state_id} is not restored: {wrong}")
    state = states.store.load(entry.path)
    if options.transcript:
        return _restore_transcript(states, entry, state)
    ready = restoration(state, entry.key)
    states.context.tell(options, view.restored_data(ready), view.shell(ready) if options.shell else view.restored(ready))
    return 0


def _restore_transcript(states: States, entry: StateEntry, state: CompleteState) -> int:
    from .state.journal_restore import TranscriptIsNewer
    from .state.journals import restore_transcript
    from .state.restore import transcript_roots

    # where the agent keeps them, and where it did when the state was captured
    captured = {name: value for name, value in state.process.environment.items() if name == "CLAUDE_CONFIG_DIR"}
    roots = tuple(dict.fromkeys(transcript_roots({**states.context.environ, **told})[0] for told in (captured, {})))
    try:
        done = restore_transcript(states.store, entry.key, state, roots, force=states.options.force)
    except TranscriptIsNewer as error:
        return states.context.refuse(f"{error}; --force replaces it and keeps it beside")
    except StateInvalid as error:
        return states.context.refuse(f"{entry.state_id}: the transcript is not restored: {error}")
    data = {"state_id": entry.state_id, "transcript": str(done.path), "kept": None if done.kept is None else str(done.kept)}
    kept = "" if done.kept is None else f"; the one that was there is kept as {done.kept}"
    states.context.tell(states.options, data, f"{done.path} is as it was {view.moment(entry.time)}{kept}")
    return 0


def _prune(states: States) -> int:
    if states.options.agent is not None:
        raise UsageError([Fault("--agent", "states are kept by project, not by agent; leave it out")])
    keys = states.store.keys() if states.options.all else (states.key,)
    retention, dry_run = retention_of(states.config.state), states.options.dry_run
    done = [prune(states.store, key, retention, dry_run=dry_run) for key in keys]
    states.context.tell(states.options, view.pruned_data(done, dry_run=dry_run), view.pruned(done, dry_run=dry_run))
    failed = [error for one in done for error in one.failed]
    for error in failed:
        states.context.refuse(str(error))
    return 1 if failed else 0


def _rekey(states: States) -> int:
    from .state.keys import add_key
    from .state.rekeying import rekey

    if states.options.agent is not None:
        raise UsageError([Fault("--agent", "all that is kept of a project is encrypted with one key; leave it out")])
    if not states.config.encryption.key:
        raise UsageError([Fault("encryption.key", "names no key; see docs/state.md")])
    if states.options.new_key:
        add_key(states.config.encryption.key)
    store = StateStore(states.state_dir, seal_of(states.config.encryption, states.context.environ))
    done = [rekey(store, key) for key in (store.keys() if states.options.all else (states.key,))]
    counts = sum(one.states for one in done), sum(one.segments for one in done)
    failed = [error for one in done for error in one.failed]
    data = {"new_key": states.options.new_key, "states": counts[0], "segments": counts[1], "failed": failed}
    states.context.tell(states.options, data, f"encrypted again: {counts[0]} states, {counts[1]} segments of journals")
    for error in failed:
        states.context.refuse(error)
    return 1 if failed else 0


def _one_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "state", metavar="STATE", nargs="?", default=LATEST, help="an id, the beginning or the end of one, or latest, which is the default"
    )


def _add_summary_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--summary", action="store_true", help="the summary of its conversation instead, such as a new session can begin with"
    )
    parser.add_argument("--budget", metavar="BYTES", help=f"how long that may be; default: {DEFAULT_BUDGET}")


def _add_show_options(parser: argparse.ArgumentParser) -> None:
    _one_state(parser)
    _add_summary_options(parser)


def _add_list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="of all projects")


def _add_diff_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="BEFORE", help="a state, as for show")
    parser.add_argument("after", metavar="AFTER", nargs="?", default=LATEST, help="another one; default: latest")


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    _one_state(parser)
    _add_summary_options(parser)
    parser.add_argument("--output", metavar="FILE", help="where to; default: standard output")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")


def _add_restore_options(parser: argparse.ArgumentParser) -> None:
    _one_state(parser)
    parser.add_argument(
        "--transcript", action="store_true", help="put the transcript of the conversation back as it was; nobody may be writing to it"
    )
    parser.add_argument("--force", action="store_true", help="also over a transcript that has records of its own, which is kept beside")
    parser.add_argument("--shell", action="store_true", help='lines for a shell: eval "$(... states restore --shell)"')


def _add_prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, say what would be")
    parser.add_argument("--all", action="store_true", help="of all projects")
    parser.add_argument("--max-age-days", metavar="DAYS", help="instead of state.max_age_days; 0 is no limit")
    parser.add_argument("--max-states", metavar="N", help="instead of state.max_states; 0 is no limit")
    parser.add_argument("--max-size", metavar="SIZE", help="instead of state.max_size; 0 is no limit")


def _add_rekey_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--new-key", action="store_true", help="make a new key first, and keep it in front of the old ones")
    parser.add_argument("--all", action="store_true", help="of all projects")


ACTIONS: Final[Mapping[str, Action]] = {
    "list": Action("[--all] [options]", "Say which states there are, the newest first.", _add_list_options, _list),
    "show": Action("[STATE] [--summary [--budget BYTES]] [options]", "Show a state.", _add_show_options, _show),
    "diff": Action("BEFORE [AFTER] [options]", "Say in what two states differ.", _add_diff_options, _diff),
    "export": Action(
        "[STATE] [--summary [--budget BYTES]] [--output FILE [--force]] [options]",
        "Write a state as JSON, without encryption.",
        _add_export_options,
        _export,
    ),
    "restore": Action(
        "[STATE] [--shell | --transcript [--force]] [options]",
        "Check that a state can be restored here, and say what that gives back; or put its transcript back.",
        _add_restore_options,
        _restore,
    ),
    "prune": Action(
        "[--dry-run] [--all] [options]", "Remove states that are too old or too many, never the last good one.", _add_prune_options, _prune
    ),
    "rekey": Action(
        "[--new-key] [--all] [options]",
        "Encrypt everything again with the newest key of encryption.key, also what is plain.",
        _add_rekey_options,
        _rekey,
    ),
}
