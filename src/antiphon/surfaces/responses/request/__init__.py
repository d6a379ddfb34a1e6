"""A request of the Responses API, from bytes to nouns: `wire` has its structs, `input_items` those of the items.

`decode` makes a conversation of it, `history` its turns, `parts` their content; `reader` does all of that for an
exchange, with what the request names: earlier responses, files, the tools of MCP servers.
"""
