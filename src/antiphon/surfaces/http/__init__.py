"""What every surface needs of HTTP: reading requests, keys and origins, streaming, the description of all routes.

Imported by the surfaces and by nothing else. Knows bytes, headers and limits; knows no API.
"""
