"""What was seen and sampled, kept for those who train on it: ids, and text only where it is wanted.

`recorder` adds samples to a folder, `tree` puts those of a conversation together, and `shapes` makes of them what
trainers read. A folder has a file for each conversation, with a line for each sample.

Knows: api, storage.
"""
