"""A black-box conformance suite for servers of the Anthropic Messages API.

It talks HTTP to a URL and uses nothing but the standard library, so that it runs against any server, wherever there is
Python: `python -m antiphon_check URL`. It judges the structure of replies and never their wit, so a tiny model will do.

`registry` finds the checks of the three folders `basic`, `agent` and `full`; `runner` runs them; `report` prints.
"""

__version__ = "0.1.0"
