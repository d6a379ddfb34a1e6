"""Tools that run here, over scripted models and loopback sites."""
