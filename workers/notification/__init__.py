"""Who is told of events beside the terminal: the hook command, the desktop, and Claude MPM. Nothing here can hold up a run, or end it.

program    runs one command within its time, and leaves nothing of it behind
channel    a bounded queue of events, and the programs that are run for them
hook       ``hooks.on_event``
desktop    the desktop's own notifications
monitor    Claude MPM's monitor, over HTTP: `place` finds it, `envelope` is what it takes
"""
