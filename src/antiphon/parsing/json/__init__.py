"""Calls written as JSON: a lenient reader, and the frames that formats put such calls in.

Imported by the formats; knows the splitter and the readers of `parsing`.
"""
