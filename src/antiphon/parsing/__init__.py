"""From text, however it was cut into pieces, to events. No I/O, no clock, no ids but those handed in."""
