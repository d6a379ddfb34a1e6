"""Level basic: what `create` and `stream` of an SDK need."""
