"""The pages of the documentation that are made from the program itself.

`python -m antiphon.cli.reference docs` writes them. `rooms` is also what the import law is a test of.
"""
