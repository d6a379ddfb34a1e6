"""Tools that run here: web search and fetch, MCP servers, tool search, code. `set_up` gives those that are allowed."""
