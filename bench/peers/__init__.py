"""`make peers`: what can be had here of the servers that speak the Messages API, held to `antiphon check` and timed.

`servers` starts them, `run` measures, `results` keeps what came in docs/peers.json, and `pages` makes the tables of the
documentation from that file.
"""
