"""An Erlang/OTP-style supervision tree for Python, on anyio (trio and asyncio).

The public names are imported when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.backoff import Backoff as Backoff
    from .core.breaker import Breaker as Breaker
    from .core.breaker import CircuitState as CircuitState
    from .core.budget import Admitted as Admitted
    from .core.budget import Refused as Refused
    from .core.budget import Wait as Wait
    from .core.errors import AlreadyPresent as AlreadyPresent
    from .core.errors import AlreadyStarted as AlreadyStarted
    from .core.errors import BadCombination as BadCombination
    from .core.errors import CallError as CallError
    from .core.errors import ChildNotFound as ChildNotFound
    from .core.errors import ChildNotRunning as ChildNotRunning
    from .core.errors import ChildRestarting as ChildRestarting
    from .core.errors import ChildRunning as ChildRunning
    from .core.errors import DuplicateChildName as DuplicateChildName
    from .core.errors import InvalidField as InvalidField
    from .core.errors import MaxChildren as MaxChildren
    from .core.errors import NoProc as NoProc
    from .core.errors import RestartIntensityExceeded as RestartIntensityExceeded
    from .core.errors import RestartPostponed as RestartPostponed
    from .core.errors import RestartRefused as RestartRefused
    from .core.errors import SimpleOneForOne as SimpleOneForOne
    from .core.errors import SpecError as SpecError
    from .core.errors import StartFailed as StartFailed
    from .core.errors import SupervisorError as SupervisorError
    from .core.event import CgroupUnavailable as CgroupUnavailable
    from .core.event import ChildExited as ChildExited
    from .core.event import ChildRestarted as ChildRestarted
    from .core.event import ChildStarted as ChildStarted
    from .core.event import ChildStartFailed as ChildStartFailed
    from .core.event import ChildStatus as ChildStatus
    from .core.event import ChildTerminated as ChildTerminated
    from .core.event import ChildUnresponsive as ChildUnresponsive
    from .core.event import Event as Event
    from .core.event import EventsLost as EventsLost
    from .core.event import NotificationIgnored as NotificationIgnored
    from .core.event import OomKilled as OomKilled
    from .core.event import OrphansSwept as OrphansSwept
    from .core.event import OutputFailed as OutputFailed
    from .core.event import OutputLine as OutputLine
    from .core.event import OutputResumed as OutputResumed
    from .core.event import Record as Record
    from .core.event import RestartDeferred as RestartDeferred
    from .core.event import SentryLost as SentryLost
    from .core.event import SupervisorGaveUp as SupervisorGaveUp
    from .core.exits import Exit as Exit
    from .core.exits import ExitKind as ExitKind
    from .core.exits import describe as describe
    from .core.extra_errors import AlreadyRegistered as AlreadyRegistered
    from .core.extra_errors import CallTimeout as CallTimeout
    from .core.extra_errors import KeysNotUnique as KeysNotUnique
    from .core.extra_errors import NoPartitions as NoPartitions
    from .core.extra_errors import NotAChild as NotAChild
    from .core.extra_errors import NotPartitioned as NotPartitioned
    from .core.extra_errors import NotRegistered as NotRegistered
    from .core.extra_errors import NotServed as NotServed
    from .core.extra_errors import RegistryError as RegistryError
    from .core.extra_errors import StartMethodUnavailable as StartMethodUnavailable
    from .core.extra_errors import TaskExited as TaskExited
    from .core.extra_errors import TaskTimeout as TaskTimeout
    from .core.extra_errors import Unpicklable as Unpicklable
    from .core.extra_errors import WorkerFailed as WorkerFailed
    from .core.history import RestartHistory as RestartHistory
    from .core.history import Spent as Spent
    from .core.launch import ChildType as ChildType
    from .core.launch import Launch as Launch
    from .core.limits import Limits as Limits
    from .core.ports import Handle as Handle
    from .core.ports import Ticket as Ticket
    from .core.report import Report as Report
    from .core.report import Severity as Severity
    from .core.report import report_of as report_of
    from .core.spec import BRUTAL_KILL as BRUTAL_KILL
    from .core.spec import AutoShutdown as AutoShutdown
    from .core.spec import ChildSpec as ChildSpec
    from .core.spec import GiveUp as GiveUp
    from .core.spec import Restart as Restart
    from .core.spec import Strategy as Strategy
    from .core.spec import SupervisorFlags as SupervisorFlags
    from .core.spec import check_childspecs as check_childspecs
    from .core.term import ForeignEvent as ForeignEvent
    from .core.term import ForeignValue as ForeignValue
    from .core.text import duration as duration
    from .core.tuning import Ends as Ends
    from .core.tuning import Level as Level
    from .core.tuning import Outlook as Outlook
    from .core.tuning import Worst as Worst
    from .core.tuning import describe_worst as describe_worst
    from .core.tuning import nested_budgets as nested_budgets
    from .core.tuning import outlook as outlook
    from .core.tuning import sustained as sustained
    from .core.tuning import worst_cases as worst_cases
    from .core.value import Entity as Entity
    from .core.value import Value as Value
    from .core.value import evolve as evolve
    from .edge.application import Session as Session
    from .edge.config import ConfigSection as ConfigSection
    from .edge.config import LoadedConfig as LoadedConfig
    from .edge.config import config_key as config_key
    from .edge.config import config_platforms as config_platforms
    from .edge.config import config_table as config_table
    from .edge.config import config_tables as config_tables
    from .edge.config import load_config as load_config
    from .edge.config_made import made_config as made_config
    from .edge.control.client import Client as Client
    from .edge.control.client import ControlError as ControlError
    from .edge.control.client import running_guardians as running_guardians
    from .edge.control.commands import CommandContext as CommandContext
    from .edge.control.commands import ControlCommand as ControlCommand
    from .edge.control.commands import a_child as a_child
    from .edge.control.commands import add_json as add_json
    from .edge.control.commands import needed as needed
    from .edge.control.commands import which_guardian as which_guardian
    from .edge.control.extension import ControlExtension as ControlExtension
    from .edge.control.extension import StatusColumn as StatusColumn
    from .edge.control.listening import Control as Control
    from .edge.control.method import ControlMethod as ControlMethod
    from .edge.control.method import ControlParameter as ControlParameter
    from .edge.control.method import ControlRefused as ControlRefused
    from .edge.control.method import child_path as child_path
    from .edge.control.method import control_reason as control_reason
    from .edge.control.unavailable import ControlUnavailable as ControlUnavailable
    from .edge.event_file import encoded as encoded
    from .edge.finding import Finding as Finding
    from .edge.kinds import boolean as boolean
    from .edge.kinds import integer as integer
    from .edge.kinds import number as number
    from .edge.kinds import seconds as seconds
    from .edge.kinds import size as size
    from .edge.kinds import text as text
    from .edge.kinds import variables as variables
    from .edge.kinds import word as word
    from .edge.kinds import words as words
    from .edge.redactor import Redactor as Redactor
    from .edge.render import TREE_WORDS as TREE_WORDS
    from .edge.render import Console as Console
    from .edge.render import Line as Line
    from .edge.render import Renderer as Renderer
    from .edge.render import Summary as Summary
    from .edge.render import Tone as Tone
    from .edge.render import Words as Words
    from .edge.render import block as block
    from .edge.render import wants_color as wants_color
    from .edge.service import ServiceManager as ServiceManager
    from .edge.signals import StopRequest as StopRequest
    from .edge.sizes import Size as Size
    from .edge.sizes import format_bytes as format_bytes
    from .edge.tree_view import render as render
    from .edge.usage import Fault as Fault
    from .edge.usage import UsageError as UsageError
    from .edge.usage import raise_all as raise_all
    from .host.cgroup.group import cgroup_directories as cgroup_directories
    from .host.cgroup.run import RunCgroups as RunCgroups
    from .host.cgroup.support import cgroup_support as cgroup_support
    from .host.descriptors import raise_descriptor_limit as raise_descriptor_limit
    from .host.identity import ProcessId as ProcessId
    from .host.identity import identify as identify
    from .host.identity import is_alive as is_alive
    from .host.identity import send_signal as send_signal
    from .host.lending import hung_up as hung_up
    from .host.marker import run_token as run_token
    from .host.outputs import OwnStream as OwnStream
    from .host.own_input import OwnInput as OwnInput
    from .host.proctree import descendants as descendants
    from .host.proctree import marked as marked
    from .host.proctree import walk as walk
    from .host.reaper import own_all_sessions as own_all_sessions
    from .host.sentry_choice import SentryInUse as SentryInUse
    from .host.sentry_choice import sentry_in_use as sentry_in_use
    from .host.start_method import worker_start_method as worker_start_method
    from .host.sweep import sweep as sweep
    from .host.waitstatus import AbnormalExit as AbnormalExit
    from .host.waitstatus import exit_code as exit_code
    from .leaf.attached import Attached as Attached
    from .leaf.attached import AttachedProcess as AttachedProcess
    from .leaf.attached import attached as attached
    from .leaf.command import RunningCommand as RunningCommand
    from .leaf.command import command as command
    from .leaf.output import Lines as Lines
    from .leaf.output import RotatingFile as RotatingFile
    from .leaf.readiness import line as line
    from .leaf.readiness import probe as probe
    from .leaf.task import Ignore as Ignore
    from .leaf.task import task as task
    from .leaf.worker import worker as worker
    from .runtime.bus import Subscription as Subscription
    from .runtime.calling import call as call
    from .runtime.calling import emit as emit
    from .runtime.calling import extend_timeout as extend_timeout
    from .runtime.calling import serve as serve
    from .runtime.current import ChildRef as ChildRef
    from .runtime.current import current_child as current_child
    from .runtime.partition import PartitionSupervisor as PartitionSupervisor
    from .runtime.partition import PartitionSupervisorRef as PartitionSupervisorRef
    from .runtime.partition import partitions as partitions
    from .runtime.ref import SupervisorRef as SupervisorRef
    from .runtime.registry import Entry as Entry
    from .runtime.registry import Keys as Keys
    from .runtime.registry import Registered as Registered
    from .runtime.registry import Registry as Registry
    from .runtime.registry import registered as registered
    from .runtime.reports import log_reports as log_reports
    from .runtime.run import TaskRun as TaskRun
    from .runtime.snapshot import ChildCounts as ChildCounts
    from .runtime.snapshot import ChildInfo as ChildInfo
    from .runtime.stream import OnTimeout as OnTimeout
    from .runtime.stream import TaskOutcome as TaskOutcome
    from .runtime.stream import TaskStream as TaskStream
    from .runtime.subtree import dynamic as dynamic
    from .runtime.subtree import subtree as subtree
    from .runtime.supervisor import DynamicSupervisor as DynamicSupervisor
    from .runtime.supervisor import Supervisor as Supervisor
    from .runtime.tasks import TaskSupervisor as TaskSupervisor
    from .runtime.tasks import TaskSupervisorRef as TaskSupervisorRef
    from .runtime.tasks import tasks as tasks
    from .runtime.tree_info import SupervisorInfo as SupervisorInfo
    from .runtime.tree_info import TreeInfo as TreeInfo

_MODULES = {
    "core.backoff": "Backoff",
    "core.breaker": "Breaker CircuitState",
    "core.budget": "Admitted Refused Wait",
    "core.errors": (
        "AlreadyPresent AlreadyStarted BadCombination CallError ChildNotFound ChildNotRunning ChildRestarting ChildRunning "
        "DuplicateChildName InvalidField MaxChildren NoProc RestartIntensityExceeded RestartPostponed RestartRefused "
        "SimpleOneForOne SpecError StartFailed SupervisorError"
    ),
    "core.event": (
        "CgroupUnavailable ChildExited ChildRestarted ChildStartFailed ChildStarted ChildStatus ChildTerminated "
        "ChildUnresponsive Event EventsLost NotificationIgnored OomKilled OrphansSwept OutputFailed OutputLine OutputResumed "
        "Record RestartDeferred SentryLost SupervisorGaveUp"
    ),
    "core.exits": "Exit ExitKind describe",
    "core.extra_errors": (
        "AlreadyRegistered CallTimeout KeysNotUnique NoPartitions NotAChild NotPartitioned NotRegistered NotServed RegistryError "
        "StartMethodUnavailable TaskExited TaskTimeout Unpicklable WorkerFailed"
    ),
    "core.history": "RestartHistory Spent",
    "core.limits": "Limits",
    "core.ports": "Handle Ticket",
    "core.launch": "ChildType Launch",
    "core.report": "Report Severity report_of",
    "core.spec": "AutoShutdown BRUTAL_KILL ChildSpec GiveUp Restart Strategy SupervisorFlags check_childspecs",
    "core.term": "ForeignEvent ForeignValue",
    "core.text": "duration",
    "core.tuning": "Ends Level Outlook Worst describe_worst nested_budgets outlook sustained worst_cases",
    "core.value": "Entity Value evolve",
    "edge.application": "Session",
    "edge.config": "ConfigSection LoadedConfig config_key config_platforms config_table config_tables load_config",
    "edge.config_made": "made_config",
    "edge.control.client": "Client ControlError running_guardians",
    "edge.control.commands": "CommandContext ControlCommand a_child add_json needed which_guardian",
    "edge.control.extension": "ControlExtension StatusColumn",
    "edge.control.listening": "Control",
    "edge.control.method": "ControlMethod ControlParameter ControlRefused child_path control_reason",
    "edge.control.unavailable": "ControlUnavailable",
    "edge.event_file": "encoded",
    "edge.finding": "Finding",
    "edge.kinds": "boolean integer number seconds size text variables word words",
    "edge.render": "Console Line Renderer Summary TREE_WORDS Tone Words block wants_color",
    "edge.redactor": "Redactor",
    "edge.service": "ServiceManager",
    "edge.signals": "StopRequest",
    "edge.sizes": "Size format_bytes",
    "edge.tree_view": "render",
    "edge.usage": "Fault UsageError raise_all",
    "host.cgroup.group": "cgroup_directories",
    "host.cgroup.run": "RunCgroups",
    "host.cgroup.support": "cgroup_support",
    "host.descriptors": "raise_descriptor_limit",
    "host.identity": "ProcessId identify is_alive send_signal",
    "host.lending": "hung_up",
    "host.marker": "run_token",
    "host.outputs": "OwnStream",
    "host.own_input": "OwnInput",
    "host.proctree": "descendants marked walk",
    "host.reaper": "own_all_sessions",
    "host.sentry_choice": "SentryInUse sentry_in_use",
    "host.start_method": "worker_start_method",
    "host.sweep": "sweep",
    "host.waitstatus": "AbnormalExit exit_code",
    "leaf.attached": "Attached AttachedProcess attached",
    "leaf.command": "RunningCommand command",
    "leaf.output": "Lines RotatingFile",
    "leaf.readiness": "line probe",
    "leaf.task": "Ignore task",
    "leaf.worker": "worker",
    "runtime.bus": "Subscription",
    "runtime.calling": "call emit extend_timeout serve",
    "runtime.current": "ChildRef current_child",
    "runtime.partition": "PartitionSupervisor PartitionSupervisorRef partitions",
    "runtime.ref": "SupervisorRef",
    "runtime.registry": "Entry Keys Registered Registry registered",
    "runtime.reports": "log_reports",
    "runtime.run": "TaskRun",
    "runtime.snapshot": "ChildCounts ChildInfo",
    "runtime.stream": "OnTimeout TaskOutcome TaskStream",
    "runtime.subtree": "dynamic subtree",
    "runtime.supervisor": "DynamicSupervisor Supervisor",
    "runtime.tasks": "TaskSupervisor TaskSupervisorRef tasks",
    "runtime.tree_info": "SupervisorInfo TreeInfo",
}

_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
