"""Calls written as Python: function calls with keyword arguments and literals.

Imported by the formats; knows the splitter and the readers of `parsing`.
"""
