"""What can be seen of a running server: metrics, traces, log lines.

`request_watch` is imported along the path of a request, the others where requests come in.

Knows: api.
"""
