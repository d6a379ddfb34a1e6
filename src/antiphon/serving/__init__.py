"""The path of a request, from a conversation to events. `service` is where to start.

Surfaces import `service` and the types it takes and gives; `model`, `token_model` and `chat_model` are for whoever puts
a server together. Nothing here is about HTTP or processes.

Knows: accounts, api, constraint, engines, observability, parsing, prompt, storage, trajectories.
"""
