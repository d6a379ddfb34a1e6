"""JSON schemas of clients, brought to what an engine can be held to, and the rest that is left to check.

`lower` turns any schema into the largest one that a dialect can hold, never stricter than the client's own but for
members that it does not list, and says of each keyword that is left out where it stands and why.
"""

from __future__ import annotations

from antiphon.constraint.schema.lowering import Lowered, lower
from antiphon.constraint.schema.modern import Unheld

__all__ = ["Lowered", "Unheld", "lower"]
