"""From a model's output, however it was cut into pieces, to events. No I/O, no clock, no ids but those handed in.

`parser` is imported along the path of a request, `formats` wherever a format is chosen by name. A format's record holds
its grammar too, which is why this room and `constraint` know each other.

Knows: api, constraint.
"""
