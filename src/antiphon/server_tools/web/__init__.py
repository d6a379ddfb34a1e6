"""The web: the search backends, fetching pages, and which addresses may be fetched."""
