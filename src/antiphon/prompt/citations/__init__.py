"""Sources that can be cited, as a model is shown them: cut into sentences, numbered, and under a label.

Imported by those who read sources from requests and results of tools. Knows the core types alone.
"""
