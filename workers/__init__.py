"""The guardian: programs that run under a supervision tree and watch over the memory of its agents.

policy/   pure decisions: levels, degradation, what to do
probe/    what reads memory
state/    what is captured before a restart, and where it is kept
api.py    the guardian as a class, for programs in Python; the public names are imported when they are first used
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agents import AgentRefused as AgentRefused
    from .api import MemoryGuardian as MemoryGuardian
    from .api import ProcessState as ProcessState
    from .claude.messages import AssistantMessage as AssistantMessage
    from .claude.messages import ControlRequest as ControlRequest
    from .claude.messages import ControlResponse as ControlResponse
    from .claude.messages import InitMessage as InitMessage
    from .claude.messages import Message as Message
    from .claude.messages import OpaqueMessage as OpaqueMessage
    from .claude.messages import ResultMessage as ResultMessage
    from .claude.messages import StreamEvent as StreamEvent
    from .claude.messages import SystemMessage as SystemMessage
    from .claude.messages import TextBlock as TextBlock
    from .claude.messages import ThinkingBlock as ThinkingBlock
    from .claude.messages import ToolResultBlock as ToolResultBlock
    from .claude.messages import ToolUseBlock as ToolUseBlock
    from .claude.messages import UserMessage as UserMessage
    from .claude.notices import LifeBegan as LifeBegan
    from .claude.notices import LifeOver as LifeOver
    from .claude.notices import LinesDropped as LinesDropped
    from .claude.notices import LineTorn as LineTorn
    from .claude.notices import TurnCut as TurnCut
    from .claude.session import ClaudeSession as ClaudeSession
    from .claude.session_errors import RequestFailedError as RequestFailedError
    from .claude.session_errors import RequestTimeoutError as RequestTimeoutError
    from .claude.session_errors import SessionEndedError as SessionEndedError
    from .claude.session_errors import SessionError as SessionError
    from .claude.session_errors import TurnCutError as TurnCutError
    from .claude.session_turn import Turn as Turn
    from .config import AgentConfig as AgentConfig
    from .config import ClaudeEvents as ClaudeEvents
    from .config import CommandConfig as CommandConfig
    from .config import DegradationConfig as DegradationConfig
    from .config import EncryptionConfig as EncryptionConfig
    from .config import HealthConfig as HealthConfig
    from .config import HooksConfig as HooksConfig
    from .config import LeafRestart as LeafRestart
    from .config import MemoryGuardianConfig as MemoryGuardianConfig
    from .config import MemoryThresholds as MemoryThresholds
    from .config import MonitoringConfig as MonitoringConfig
    from .config import MpmConfig as MpmConfig
    from .config import NotificationsConfig as NotificationsConfig
    from .config import PlatformOverrides as PlatformOverrides
    from .config import RestartPolicy as RestartPolicy
    from .config import StateConfig as StateConfig
    from .degradation.graceful import GracefulDegradation as GracefulDegradation
    from .health.metrics import HealthMetrics as HealthMetrics
    from .health.monitor import HealthMonitor as HealthMonitor
    from .health.monitor import HealthReport as HealthReport
    from .policy.health import Health as Health
    from .policy.ladder import Activity as Activity
    from .policy.ladder import DegradationMode as DegradationMode
    from .policy.pressure import MemoryState as MemoryState
    from .probe import MemorySample as MemorySample
    from .protection import RestartProtection as RestartProtection
    from .runner import MemoryAwareRunner as MemoryAwareRunner
    from .service import AsyncGuardianService as AsyncGuardianService
    from .service import GuardianService as GuardianService
    from .sessions import ClaudeSessions as ClaudeSessions
    from .state.files import StateWriteFailed as StateWriteFailed
    from .state.keys import KeyUnavailable as KeyUnavailable
    from .state.manager import StateManager as StateManager
    from .state.model import CompleteState as CompleteState
    from .state.model import MemoryPoint as MemoryPoint
    from .state.model import PastRestart as PastRestart
    from .state.model import ProcessSnapshot as ProcessSnapshot
    from .state.model import ProjectState as ProjectState
    from .state.model import RestartState as RestartState
    from .state.model import StateInvalid as StateInvalid
    from .state.model import StateMetadata as StateMetadata
    from .state.restore import Restoration as Restoration
    from .state.restore import RestoreRefused as RestoreRefused
    from .state.retention import Pruned as Pruned
    from .state.selection import NoSuchState as NoSuchState
    from .state.store import StateUnreadable as StateUnreadable

_MODULES = {
    "agents": "AgentRefused",
    "api": "MemoryGuardian ProcessState",
    "claude.messages": (
        "AssistantMessage ControlRequest ControlResponse InitMessage Message OpaqueMessage ResultMessage StreamEvent SystemMessage "
        "TextBlock ThinkingBlock ToolResultBlock ToolUseBlock UserMessage"
    ),
    "claude.notices": "LifeBegan LifeOver LineTorn LinesDropped TurnCut",
    "claude.session": "ClaudeSession",
    "claude.session_errors": "RequestFailedError RequestTimeoutError SessionEndedError SessionError TurnCutError",
    "claude.session_turn": "Turn",
    "sessions": "ClaudeSessions",
    "config": (
        "AgentConfig ClaudeEvents CommandConfig DegradationConfig EncryptionConfig HealthConfig HooksConfig LeafRestart "
        "MemoryGuardianConfig MemoryThresholds MonitoringConfig MpmConfig NotificationsConfig PlatformOverrides RestartPolicy StateConfig"
    ),
    "degradation.graceful": "GracefulDegradation",
    "health.metrics": "HealthMetrics",
    "health.monitor": "HealthMonitor HealthReport",
    "policy.health": "Health",
    "policy.ladder": "Activity DegradationMode",
    "policy.pressure": "MemoryState",
    "probe": "MemorySample",
    "protection": "RestartProtection",
    "runner": "MemoryAwareRunner",
    "service": "AsyncGuardianService GuardianService",
    "state.files": "StateWriteFailed",
    "state.keys": "KeyUnavailable",
    "state.manager": "StateManager",
    "state.model": "CompleteState MemoryPoint PastRestart ProcessSnapshot ProjectState RestartState StateInvalid StateMetadata",
    "state.restore": "Restoration RestoreRefused",
    "state.retention": "Pruned",
    "state.selection": "NoSuchState",
    "state.store": "StateUnreadable",
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
