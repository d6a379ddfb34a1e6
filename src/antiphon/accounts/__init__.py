"""Who may use a server, and what they used: API keys that are managed while it runs, the usage that is kept, budgets.

Knows: api, settings, storage.
"""
