"""From a conversation to the ids of a prompt: repair, render, fence, tokenise, fit.

`prompter` is the whole of it; `templates` is imported by itself where a template is looked at, `media` where pictures
and documents are read, and `prefix` where prompts are compared.

Knows: api.
"""
