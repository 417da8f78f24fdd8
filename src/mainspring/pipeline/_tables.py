"""polars and Arrow tables as Arrow files, read back by memory mapping; DuckDB relations as Parquet.

The libraries are imported only when a value of theirs is in hand or is asked for. A relation is computed when it is
kept: what comes back reads the kept rows, not what the query once read.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Invalid, MissingExtra

__all__ = ["ARROW", "POLARS", "RELATION"]


class _Polars:
    """polars frames and series. A lazy frame is refused: what it would read is not known yet."""

    name = "polars.frame"
    packages: tuple[str, ...] = ("polars",)

    def recognises(self, value: object) -> bool:
        return type(value).__name__ in ("DataFrame", "Series", "LazyFrame")

    def keep(self, value: Any, artifacts: ArtifactStore, where: str) -> dict[str, Any]:  # of polars
        shape = type(value).__name__
        if shape == "LazyFrame":
            raise Invalid("A polars LazyFrame cannot be kept", where=where, next_step="return frame.collect()")
        frame = value.to_frame() if shape == "Series" else value
        if any(dtype == "Object" for dtype in map(str, frame.dtypes)):
            raise Invalid("A polars column of Python objects cannot be kept", where=where, next_step="give it a type")
        target = io.BytesIO()
        # One chunk, so that the file can be mapped. Frames that are equal but were cut up otherwise may still differ in
        # spare bits: that costs a step after this one a run, and never gives it a wrong value.
        frame.rechunk().write_ipc(target, compression="uncompressed")
        return {"shape": shape, "rows": frame.height, "data": artifacts.put_bytes(target.getvalue())}

    def load(self, fields: dict[str, Any], artifacts: ArtifactStore, folder: Path) -> Any:  # of polars
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtra.of("polars", "polars", "A kept polars table") from error
        artifacts.verify(Digest(fields["data"]))
        # From a path and without compression: polars maps the file.
        frame = pl.read_ipc(artifacts.path_of(Digest(fields["data"])))
        return frame.to_series() if fields["shape"] == "Series" else frame


class _Arrow:
    """pyarrow tables."""

    name = "pyarrow.table"
    packages: tuple[str, ...] = ("pyarrow",)

    def recognises(self, value: object) -> bool:
        return type(value).__name__ == "Table"

    def keep(self, value: Any, artifacts: ArtifactStore, where: str) -> dict[str, Any]:  # of pyarrow
        import pyarrow as pa  # loaded already: this is its table

        target = io.BytesIO()
        whole = value.combine_chunks()
        with pa.ipc.new_file(target, whole.schema) as writer:
            writer.write_table(whole)
        return {"rows": value.num_rows, "data": artifacts.put_bytes(target.getvalue())}

    def load(self, fields: dict[str, Any], artifacts: ArtifactStore, folder: Path) -> Any:  # of pyarrow
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtra.of("arrow", "pyarrow", "A kept Arrow table") from error
        artifacts.verify(Digest(fields["data"]))
        return pa.ipc.open_file(pa.memory_map(str(artifacts.path_of(Digest(fields["data"]))))).read_all()


class _Relation:
    """DuckDB relations, computed."""

    name = "duckdb.relation"
    packages: tuple[str, ...] = ("duckdb",)

    def recognises(self, value: object) -> bool:
        return "Relation" in type(value).__name__ and hasattr(value, "write_parquet")

    def keep(self, value: Any, artifacts: ArtifactStore, where: str) -> dict[str, Any]:  # of duckdb
        with tempfile.TemporaryDirectory(prefix="mainspring-") as folder:
            path = Path(folder, "relation.parquet")
            value.write_parquet(str(path))
            return {"columns": list(value.columns), "data": artifacts.put_file(path)}

    def load(self, fields: dict[str, Any], artifacts: ArtifactStore, folder: Path) -> Any:  # of duckdb
        import duckdb

        artifacts.verify(Digest(fields["data"]))
        return duckdb.read_parquet(str(artifacts.path_of(Digest(fields["data"]))))


POLARS = _Polars()
ARROW = _Arrow()
RELATION = _Relation()
