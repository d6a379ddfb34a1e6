"""The picture of the layers, as an SVG image: an arrow points to what is known."""

from __future__ import annotations

from html import escape

from antiphon.cli.reference.rooms import LAYERS, Layer, declared, direct, layer_graph, rows

_WIDTH, _HEIGHT = 260, 76
_RISE, _APART, _MARGIN = 140, 310, 16
_PORT = 36
"""How far apart arrows leave or reach the same box."""
_HEADROOM = 12
"""The last of an arrow is straight, so that its head is."""
_STYLE = (
    "rect{fill:#f5f6fa;stroke:#9fa8da}"
    ".path rect{fill:#e3e8ff;stroke:#3f51b5;stroke-width:1.6}"
    "text{text-anchor:middle;font-size:13px;fill:#37474f}"
    ".name{font-size:17px;font-weight:600;fill:#1a237e}"
    ".rooms{font-family:monospace;font-size:11px;fill:#5c6bc0}"
    ".arrow{stroke:#7986cb;stroke-width:1.4;fill:none;marker-end:url(#head)}"
)
_HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#7986cb"/></marker>'
)
_NOTE = "An arrow points to what is imported; what follows from other arrows is left out. Blue: the path of a request."

Place = tuple[float, float]
"""The middle of a box."""


def draw() -> str:
    """The picture. An arrow that follows from two others is left out."""
    graph = layer_graph(declared())
    levels = rows(graph)
    places = _places(levels)
    arrows = {(name, known) for name in graph for known in direct(name, graph)}
    width = 2 * _MARGIN + _WIDTH + 2 * _APART
    height = 2 * _MARGIN + _HEIGHT + (len(levels) - 1) * _RISE + 26
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            'font-family="sans-serif">',
            "<title>The layers of the package and their imports</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>',
            _HEAD,
            *(_arrow(arrow, arrows, places) for arrow in sorted(arrows)),
            *(_box(layer, places[layer.name]) for layer in LAYERS),
            f'<text x="{width / 2:.0f}" y="{height - 14}">{_NOTE}</text>',
            "</svg>",
            "",
        ]
    )


def _places(levels: list[list[str]]) -> dict[str, Place]:
    """A row of one stands in the middle column, of two in the outer ones, so that arrows can pass between."""
    columns = {1: (1,), 2: (0, 2), 3: (0, 1, 2)}
    return {
        name: (_MARGIN + _WIDTH / 2 + column * _APART, _MARGIN + _HEIGHT / 2 + level * _RISE)
        for level, names in enumerate(levels)
        for column, name in zip(columns[len(names)], names, strict=True)
    }


def _box(layer: Layer, place: Place) -> str:
    x, y = place
    left, top = x - _WIDTH / 2, y - _HEIGHT / 2
    rooms = " ".join(layer.rooms)
    return (
        f"<g{' class=' + chr(34) + 'path' + chr(34) if layer.on_path else ''}>"
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        f'<text class="name" x="{x:.0f}" y="{y - 14:.0f}">{layer.name}</text>'
        f'<text x="{x:.0f}" y="{y + 7:.0f}">{escape(layer.summary)}</text>'
        f'<text class="rooms" x="{x:.0f}" y="{y + 27:.0f}">{rooms}</text></g>'
    )


def _arrow(arrow: tuple[str, str], arrows: set[tuple[str, str]], places: dict[str, Place]) -> str:
    source, target = arrow
    leaving = sorted((other for name, other in arrows if name == source), key=lambda name: places[name])
    arriving = sorted((name for name, other in arrows if other == target), key=lambda name: places[name])
    x, y = places[source][0] + _port(leaving, target), places[source][1] + _HEIGHT / 2
    end_x, end_y = places[target][0] + _port(arriving, source), places[target][1] - _HEIGHT / 2
    gap = _RISE - _HEIGHT - _HEADROOM
    # Where it passes a row, it bends before that row if its own column is taken there, and behind it if not.
    passed = [other for other in places.values() if other[0] == places[source][0] and y < other[1] < end_y]
    top, bottom = (y, y + gap) if passed else (end_y - _HEADROOM - gap, end_y - _HEADROOM)
    return (
        f'<path class="arrow" d="M{x:.0f} {y:.0f}V{top:.0f}C{x:.0f} {top + gap / 2:.0f} {end_x:.0f} '
        f'{bottom - gap / 2:.0f} {end_x:.0f} {bottom:.0f}V{end_y:.0f}"/>'
    )


def _port(names: list[str], name: str) -> float:
    return (names.index(name) - (len(names) - 1) / 2) * _PORT
