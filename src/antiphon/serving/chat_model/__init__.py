"""A model behind a chat server: the prompt is made there, and the output read there. What comes back is held to the
same laws as any other reply, and what was demanded of it is checked.

Others import the two names below.
"""

from __future__ import annotations

from antiphon.serving.chat_model.model import ChatModel, load

__all__ = ["ChatModel", "load"]
