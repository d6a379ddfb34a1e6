"""MCP servers: by their URL, or as programs of this machine; their tools, and what these give."""
