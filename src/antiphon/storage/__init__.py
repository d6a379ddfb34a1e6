"""What is written to disk: files that are whole or not there, files of whole lines, and the store of what is kept.

All of it raises OSError as it comes, and leaves things as they were: a disk that is full or read-only costs what had to
be written, and nothing else. `files.refusal` says it to whoever wanted something kept.
The store (`store.py`) may also lie on other machines.

Knows: nothing.
"""
