"""What a third-party type must offer to be the result of a step: one object, registered by an entry point.

In the package that knows the type: ``[project.entry-points."mainspring.value"]`` with a line such as
``"shapely.geometry" = "my_package.kinds:GEOMETRY"``. The name of the entry point is the name of the kind. Plugins are
loaded when a value is met that nothing else knows, and when a kept one is read back; the built-in kinds obey the same
protocol (`_kinds`).
"""

from pathlib import Path
from typing import Any, Protocol

from mainspring.artifacts.protocol import ArtifactStore

__all__ = ["ValueKind"]


class ValueKind(Protocol):
    """How values of one type are kept and brought back. No pickle: loading must run no code that a file brings along.

    `name` never changes: kept values are found by it. `packages` are the distributions whose versions count for what a
    step does with such a value.
    """

    name: str
    packages: tuple[str, ...]

    def recognises(self, value: object) -> bool:
        """Whether this kind keeps `value`; asked often, so it must not import the library of the type."""

    def keep(self, value: Any, artifacts: ArtifactStore, where: str) -> dict[str, Any]:
        """Return what brings the value back, as JSON. Bytes go to `artifacts`, their digest under the key ``data``.

        Equal values must give equal bytes, else a step after this one runs although nothing changed. A value of this
        type that cannot be brought back exactly is refused with `Invalid`, naming `where`.
        """

    def load(self, fields: dict[str, Any], artifacts: ArtifactStore, folder: Path) -> Any:
        """Return the value of what `keep` returned. `folder` is empty, and lives as long as the value may be used."""
