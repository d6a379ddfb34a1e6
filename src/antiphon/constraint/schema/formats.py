"""Formats of JSON Schema as strings that a grammar can be made of.

Where an engine's own notion of a format is wider than the standard's, or where it has none, expressions say the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.constraint.schema.modern import Schema

CHECKED = frozenset(
    {"date-time", "time", "date", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "uri"}
    | {"uri-reference", "iri", "iri-reference", "uuid", "uri-template", "json-pointer", "relative-json-pointer"}
    | {"regex"}
)
"""Formats that the check knows; all others are annotations."""

# RFC 3986, appendix A.
_UNRESERVED = r"A-Za-z0-9._~\-"
_SUB_DELIMS = "!$&'()*+,;="
_ESCAPED = "%[0-9A-Fa-f]{2}"
_CHARACTER = rf"([{_UNRESERVED}{_SUB_DELIMS}:@]|{_ESCAPED})"
_BEFORE_COLON = rf"([{_UNRESERVED}{_SUB_DELIMS}@]|{_ESCAPED})"
_QUARTER = "[0-9A-Fa-f]{1,4}"
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(\.{_BYTE}){{3}}"
_LAST = f"({_QUARTER}:{_QUARTER}|{_IPV4})"
_IPV6 = "|".join(
    [
        f"({_QUARTER}:){{6}}{_LAST}",
        f"::({_QUARTER}:){{5}}{_LAST}",
        *(
            f"(({_QUARTER}:){{0,{before}}}{_QUARTER})?::({_QUARTER}:){{{behind}}}{_LAST}"
            for before, behind in enumerate((4, 3, 2, 1, 0))
        ),
        f"(({_QUARTER}:){{0,5}}{_QUARTER})?::{_QUARTER}",
        f"(({_QUARTER}:){{0,6}}{_QUARTER})?::",
    ]
)
_FUTURE = rf"[vV][0-9A-Fa-f]+\.[{_UNRESERVED}{_SUB_DELIMS}:]+"
_HOST = rf"(\[({_IPV6}|{_FUTURE})\]|([{_UNRESERVED}{_SUB_DELIMS}]|{_ESCAPED})*)"
_AUTHORITY = rf"(([{_UNRESERVED}{_SUB_DELIMS}:]|{_ESCAPED})*@)?{_HOST}(:[0-9]*)?"
_ROOTED = f"//{_AUTHORITY}(/{_CHARACTER}*)*|/({_CHARACTER}+(/{_CHARACTER}*)*)?"
_TAIL = rf"(\?({_CHARACTER}|[/?])*)?(#({_CHARACTER}|[/?])*)?"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*:"
_URI = f"{_SCHEME}({_ROOTED}|{_CHARACTER}+(/{_CHARACTER}*)*)?{_TAIL}"
_RELATIVE = f"({_ROOTED}|{_BEFORE_COLON}+(/{_CHARACTER}*)*)?{_TAIL}"

_POINTER = "(/([^~/]|~[01])*)*"
# A second more is in a minute only where all clocks have one (RFC 3339, 5.6 and appendix D).
_SECOND = r"..:..:[0-5].*|23:59:60(\.[0-9]+)?[Zz]"
_DAY = (
    "....-(0[13-9]|1.)-..|....-02-([01].|2[0-8])|(..(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29"
)
# Two hyphens behind two letters announce what is encoded (RFC 5891, 4.2.3.1).
_LABEL = r"([^.@]{1,2}|[^.@]{2}[^.@\-][^.@]{0,60}|[^.@]{2}-([^.@\-][^.@]{0,59})?)"

LLGUIDANCE: Mapping[str, Schema] = {
    **{name: {"format": name} for name in ("duration", "ipv4", "ipv6", "uuid")},
    "date": {"format": "date", "pattern": f"^({_DAY})$"},
    "time": {"format": "time", "pattern": f"^({_SECOND})$"},
    "date-time": {"format": "date-time", "pattern": f"^({_DAY})[Tt]({_SECOND})$"},
    "hostname": {"format": "hostname", "pattern": f"^{_LABEL}(\\.{_LABEL})*$"},
    "email": {"format": "email", "pattern": f"^[^@]{{1,64}}@({_LABEL}(\\.{_LABEL})*|\\[.*\\])$"},
    "uri": {"pattern": f"^({_URI})$"},
    "uri-reference": {"pattern": f"^({_URI}|{_RELATIVE})$"},
    "json-pointer": {"pattern": f"^{_POINTER}$"},
    "relative-json-pointer": {"pattern": f"^(0|[1-9][0-9]*)(#|{_POINTER})$"},
}
NATIVE: Mapping[str, Schema] = {
    name: {"format": name}
    for name in ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
}
"""As xgrammar and others have them."""
