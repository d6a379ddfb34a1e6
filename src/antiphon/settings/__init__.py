"""The settings: `fields` declares them, `sources` reads them, `keys` hashes API keys.

For whoever puts a server together or describes one; nothing along the path of a request reads a setting by itself.

Knows: nothing.
"""
