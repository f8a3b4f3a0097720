"""The interpreters under trio's mock clock: an hour passes in a millisecond, and no real process is involved."""
