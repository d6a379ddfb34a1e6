"""Message batches: requests that nobody waits for, kept on disk and answered as the engine has room.

`store` holds what was asked, `progress` what of it is answered, and `worker` does the work. What a client sees of it is
a surface's business (`surfaces/message_batches.py`).

Knows: api, storage.
"""
