"""The processes of a server: the supervisor, its workers, the engines it starts, and what they share.

The command line imports `supervisor`; workers load `app`, which puts a server together.

Knows: accounts, api, engines, observability, parsing, prompt, server_tools, serving, settings, storage, surfaces,
trajectories.
"""
