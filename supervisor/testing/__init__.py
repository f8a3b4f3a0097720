"""For tests of trees: scripted children, and time that passes only while everybody waits. Public; nothing here is needed to run a tree."""

from .child import Control as Control
from .child import NotAlive as NotAlive
from .child import Overlap as Overlap
from .child import Place as Place
from .child import Scripted as Scripted
from .child import together as together
from .clock import run as run
from .clock import settle as settle
from .clock import virtual_time as virtual_time
from .life import Crash as Crash
from .life import Entry as Entry
from .script import AT_ONCE as AT_ONCE
from .script import DEAF as DEAF
from .script import NEVER as NEVER
from .script import Decline as Decline
from .script import Fail as Fail
from .script import Hang as Hang
from .script import Ok as Ok
from .script import Start as Start
from .script import Stop as Stop

__all__ = [
    "AT_ONCE",
    "DEAF",
    "NEVER",
    "Control",
    "Crash",
    "Decline",
    "Entry",
    "Fail",
    "Hang",
    "NotAlive",
    "Ok",
    "Overlap",
    "Place",
    "Scripted",
    "Start",
    "Stop",
    "run",
    "settle",
    "together",
    "virtual_time",
]
