"""The web: search by the backends that there are, fetching pages, and what may be asked of whom."""
