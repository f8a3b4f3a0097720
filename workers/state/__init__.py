"""What is captured of a leaf before it is stopped, and where it is kept.

model.py    the captured state as values, with a format version and a checksum
capture.py  gathers it without blocking the event loop; git.py asks git
files.py    private directories and atomic writing
store.py    one file for each state
runs.py     one lock and one record for each run; lock.py holds it, sweeping.py ends what an abandoned run left behind
"""
