"""Control of a running launcher: a socket on which programs of the same user ask what runs, follow its events, and ask for changes.

listening   what a run has of it while nobody connects: a socket and the events kept; the only part that a run imports at its start
place       where the sockets are, and who may find them
loopback    TCP in their place
finding     which launchers run
ring        the events kept, as lines, within a bound
wire        pure: JSON-RPC 2.0 by line
pace        pure: how much of the event loop's time all clients together may take
peer        who is at the other end, and whether it may change anything
method      what can be asked for, and how it is refused
server      the connections of a run, and what bounds them
connection  one of them
basics      the methods that every tree has
client      the other end, without an event loop
commands    the launcher's subcommands on it
unavailable the event of a control that cannot be had
status_view what ``status`` shows to a person

The control side only asks: the tree's supervisors decide and act. ``docs/control.md`` is the protocol for whoever writes a client.
"""
