"""What an engine has computed already: which slot holds which beginning of a prompt, and what of it lies on disk.

Imported by the engines whose slots are ours to give; prompts are known here by the hashes of their pages alone.
"""
