"""Message batches: requests that nobody waits for, answered by whichever server has room.

`store` is what a client sees of them, `queue` what those that work on them do, and `worker` does the work, within its
`room`. Its writes go together by way of the `journal`. What clients are told is a surface's business
(`surfaces/messages/batches.py`).

Knows: api, storage.
"""
