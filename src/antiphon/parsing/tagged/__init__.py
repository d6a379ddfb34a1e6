"""Calls whose parameters are written between tags, as XML-like formats do.

Imported by the formats; knows the splitter and the readers of `parsing`.
"""
