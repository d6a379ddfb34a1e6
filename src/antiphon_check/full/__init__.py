"""Level full: the rest of the API."""
