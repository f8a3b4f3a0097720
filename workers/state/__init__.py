"""What is captured of a leaf before it is stopped, and where it is kept.

model.py    the captured state as values, with a format version and a checksum
worker.py   takes requests to capture and tells what became of them; apart.py starts the process that does it, messages.py crosses
archive.py  what captures, in that process
capture.py  gathers a state, from what is known (subject.py) and seen (looking.py); git.py asks git
following.py  a leaf's conversation, from capture to capture: its transcript, journal and digest
transcript.py  reads Claude Code's transcripts (record.py: one line of them; sessions.py finds them)
conversation.py  what a state has of a conversation; digest.py with folding.py, cues.py and excerpt.py condenses it
summary.py  a digest as a page; summarizer.py: the user's own command for that
files.py    private directories and atomic writing
store.py    one file for each state; formats.py reads those of every version, index.py lists them, selection.py finds the one that is meant
retention.py  how long they are kept
restore.py  what a state gives back on this host; journals.py puts a transcript back; view.py has the words
codec.py    compression; seal.py encrypts, with the keys of keys.py
journal.py  the transcript, incrementally; journal_segment.py is a file of it, journal_frames.py what that is made of
journal_restore.py puts a transcript back
manager.py  all of it as a class, for programs in Python
runs.py     one lock and one record for each run; lock.py holds it, sweeping.py ends what an abandoned run left behind
"""
