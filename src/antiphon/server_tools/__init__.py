"""Tools that run here: web search and fetch, MCP servers, tool search, code.

`tool` says what a family of tools is, `rounds` runs the calls between the model's turns, `history` and `result` find
the same turns in what the client sends back. `web`, `mcp`, `code` and `tool_search` are the families; a new one is a
file that `set_up` knows. Nothing here is about HTTP requests to this server, and nobody outside knows a tool by its
name.

Knows: api, prompt, storage.
"""
