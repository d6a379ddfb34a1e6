"""Content that requests bring along or point to: pictures, documents, schemas, things to fetch.

Imported by the surfaces that read such content. Knows the core types and the one guard for outward requests.
"""
