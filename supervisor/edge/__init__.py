"""Where the program meets its user: command line, configuration, signals, the event file and what a person reads."""
