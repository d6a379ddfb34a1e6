"""What is written to disk: files that are either whole or absent, files of whole lines, and the store.

All of it raises OSError as it comes, and leaves things as they were: a disk that is full or read-only costs what had to
be written, and nothing else. `files.refusal` makes the message for it. The store (`store.py`) may also be on other
machines.

Knows: nothing.
"""
