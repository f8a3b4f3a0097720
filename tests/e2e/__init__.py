"""The program from outside: its command line, its event stream, its exit codes."""
