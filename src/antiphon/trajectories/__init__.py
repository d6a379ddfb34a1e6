"""Recorded samples, for those who train on them: token ids, and text only if it is asked for.

`recorder` adds samples to a folder, `tree` puts those of a conversation together, and `shapes` makes of them what
trainers read. A folder has a file for each conversation, with a line for each sample.

Knows: api, storage.
"""
