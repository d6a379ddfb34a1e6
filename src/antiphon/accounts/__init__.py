"""Who may use a server, and how much they have used: managed API keys, usage, budgets.

Knows: api, settings, storage.
"""
