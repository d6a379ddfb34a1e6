"""Keys and usage over HTTP: the routes of the surface `accounts`, and what they read and send."""
