"""What every room speaks: conversations in, events out, errors.

`conversation`, `events` and `errors` may be imported from everywhere; `offload` takes large work off the event loop.

Knows: nothing.
"""
