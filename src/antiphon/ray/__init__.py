"""Antiphon past one machine, as a Ray Serve application: `serve run antiphon.ray:app`.

Three kinds of deployment, all made from the settings that `antiphon serve` reads:

    Surface       the ASGI application, composed by `process/app.py` as in any HTTP worker; its replicas keep nothing
    Engine-NAME   one for each model that is a file: each replica owns an embedded engine (`engine.py`)
    Memory        one small actor in which all surfaces remember what was sampled (`memory.py`)

Why the cut is where it is. A surface speaks to an engine actor through the `Engine` protocol, the seam at which engines
are other processes anyway (`remote.py`). So all that a stream promises is kept by the very code that keeps it on one
machine: leaving the generator cancels, and an engine that dies is a failure that the surface tells in one `error`
event, because the surface is another process and still there. Surface and engine in one replica would be simpler by
one hop, but would lose the connection together with the engine. Below the seam, and not above it, lies what belongs
to one engine: its slots, and the line in front of them, which all surfaces share.

Why conversations stay where their cache is. Each generation is routed by Ray Serve's consistent-hash router on the name
of its conversation (its session and its first turn), which the surface knows once it has read the request, whatever
the client tells in headers and whichever surface it came to. Every router has the same ring, and a replica that comes
or goes moves only the conversations that it gets or had. (Ray's prefix-aware router compares texts in one actor for the
whole cluster, and sends a conversation elsewhere by load; a router that knows sessions needs neither.)

The real `ray` is imported by its absolute name, which this package does not hide.

Knows: api, engines, observability, process, serving, settings.
"""

from antiphon.ray.application import app

__all__ = ["app"]
