"""matplotlib figures as pictures: PNG for pages and mails, SVG for papers. What comes back is the pictures.

A live figure holds code and fonts of one version of matplotlib; its pictures are what people keep it for. Dates and
random ids are left out of both, so that equal figures have equal bytes.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest

__all__ = ["FIGURE", "KEPT_FIGURE", "Figure"]


@dataclass(frozen=True, slots=True)
class Figure:
    """The pictures of a figure; a notebook shows it."""

    png: bytes
    svg: str

    def _repr_png_(self) -> bytes:
        return self.png

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: Path | str) -> None:
        """Write the picture to a file, in the format that its name ends in: ``.svg`` or ``.png``."""
        target = Path(path)
        if target.suffix == ".svg":
            target.write_text(self.svg, encoding="utf-8")
        else:
            target.write_bytes(self.png)


class _KeptFigure:
    """The pictures themselves, as a step hands them on."""

    name = "matplotlib.figure"
    packages: tuple[str, ...] = ()

    def recognises(self, value: object) -> bool:
        return isinstance(value, Figure)

    def keep(self, value: Any, artifacts: ArtifactStore, where: str) -> dict[str, Any]:  # a Figure
        return _fields(value.png, value.svg, artifacts)

    def load(self, fields: dict[str, Any], artifacts: ArtifactStore, folder: Path) -> Any:  # a Figure
        png = artifacts.read_bytes(Digest(fields["png"]["data"]))
        return Figure(png, artifacts.read_bytes(Digest(fields["svg"]["data"])).decode("utf-8"))


class _LiveFigure(_KeptFigure):
    """A matplotlib figure, drawn."""

    def recognises(self, value: object) -> bool:
        return any(each.__name__ == "Figure" and each.__module__ == "matplotlib.figure" for each in type(value).__mro__)

    def keep(self, value: Any, artifacts: ArtifactStore, where: str) -> dict[str, Any]:  # of matplotlib
        import matplotlib as mpl  # loaded already: this is its figure

        png, svg = io.BytesIO(), io.BytesIO()
        value.savefig(png, format="png", metadata={"Software": None})
        with mpl.rc_context({"svg.hashsalt": "mainspring"}):
            value.savefig(svg, format="svg", metadata={"Date": None})
        return _fields(png.getvalue(), svg.getvalue().decode("utf-8"), artifacts)


def _fields(png: bytes, svg: str, artifacts: ArtifactStore) -> dict[str, Any]:  # JSON
    return {
        "png": {"$": "bytes", "data": artifacts.put_bytes(png)},
        "svg": {"$": "bytes", "data": artifacts.put_bytes(svg.encode("utf-8"))},
    }


KEPT_FIGURE = _KeptFigure()
FIGURE = _LiveFigure()
