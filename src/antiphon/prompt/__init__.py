"""From a conversation to the ids of a prompt: repair, render, fence, tokenise, fit.

`prompter` is the whole of it; `template`, `render` and `lint` are imported by themselves where a template is looked at.

Knows: api.
"""
