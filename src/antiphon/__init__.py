"""Antiphon: the Anthropic Messages API on models you host."""

__version__ = "0.1.0"
