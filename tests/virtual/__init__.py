"""The interpreters in virtual time: an hour passes in a millisecond, and no real process is involved."""
