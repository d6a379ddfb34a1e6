"""Chat templates: running one, putting a conversation into its terms, and trying what it can and cannot do.

Imported by the rest of `prompt`, by whoever loads a model, and by the commands that look at a template.
"""
