"""What earlier prompts were made of, so that a growing conversation stays a prefix of its own tokens.

`transcript` remembers the ids of replies, `seams` finds where they end in a rendered prompt, `hashes` tells
conversations apart, and `predecessors` says what a prompt lost of the one before it.
"""
