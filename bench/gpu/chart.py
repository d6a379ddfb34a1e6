"""The speeds as a picture."""

from __future__ import annotations

from pathlib import Path

_FIGURES = {"tokens a second": "tokens a second, all streams", "first token": "seconds to the first token"}


def draw(speeds: dict[str, dict[int, dict[str, float]]], file: Path) -> str:
    """Draw both figures over the number of streams, a line for each server; gives the name of the file. Raises
    ImportError where there is no matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(1, len(_FIGURES), figsize=(10, 4))
    for axis, (key, title) in zip(axes, _FIGURES.items(), strict=True):
        for name, found in speeds.items():
            axis.plot(list(found), [each[key] for each in found.values()], marker="o", label=name)
        axis.set(title=title, xlabel="streams", xscale="log")
        axis.legend()
    picture.tight_layout()
    picture.savefig(file)
    return file.name
