"""`mainspring models register`: a model that was made elsewhere becomes a version."""

import tempfile
from pathlib import Path

import click

from mainspring.bundle.manifest import MANIFEST_NAME, BundleManifest
from mainspring.cli.output import json_option, print_json
from mainspring.errors import Invalid, NotFound
from mainspring.registry.versions import register_version
from mainspring.workspace import Workspace

__all__ = ["register_command"]


@click.command("register")
@click.argument("model")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--rows",
    type=click.Path(path_type=Path),
    help="Rows the model knows, with their outcomes: its columns, ranges and an example come from them (.onnx only).",
)
@click.option("--target", help="The column of the outcomes in --rows (.onnx only).")
@click.option(
    "--schema",
    type=click.Path(path_type=Path),
    help="A schema file that --rows keep; it guards the model (.onnx only).",
)
@click.option("--threshold", type=float, help="The score from which the second class is said (.onnx only).")
@json_option
def register_command(
    model: str,
    source: Path,
    rows: Path | None,
    target: str | None,
    schema: Path | None,
    threshold: float | None,
    as_json: bool,
) -> None:
    """Register SOURCE as the next version of MODEL: a bundle's folder, or an .onnx file with rows it knows.

    The columns of --rows but the target are the model's inputs: by name, or in this order as one table. The model is
    tried on them. No gate is asked; promote it with --override and a reason, or let a loop judge it.

    \b
    Example:
      mainspring models register late-flights network.onnx --rows known.csv --target late
      mainspring models register late-flights exported/bundle
    """
    from mainspring.bundle.format import verify  # numpy, which the other commands of `models` do without

    known: dict[str, object] = {}  # what its live quality will be compared with
    with Workspace() as workspace, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        if (source / MANIFEST_NAME).is_file():
            folder, manifest = source, verify(source)
        elif source.suffix == ".onnx":
            manifest, known = _packed(folder, model, source, rows, target, schema, threshold)
        else:
            raise Invalid(
                f"`{source}` is no bundle and no .onnx file",
                where="SOURCE",
                next_step="give a bundle's folder (with bundle.json), or a model exported to ONNX",
            )
        size = sum(each.size_bytes for each in manifest.files.values())
        version = register_version(
            workspace.store,
            model,
            bundle=workspace.artifacts.put_tree(folder),
            run_id=None,
            evidence={**known, "flavor": manifest.flavor, "size_bytes": size, "from": source.name},
            author=workspace.actor,
            at=workspace.clock.now(),
            status="registered",
        )
    if as_json:
        print_json({"name": version.model, "version": version.version, "bundle": version.bundle})
    else:
        click.echo(f"{version.reference} is registered. Next: mainspring promote {version.reference}")


def _packed(
    folder: Path,
    model: str,
    source: Path,
    rows: Path | None,
    target: str | None,
    schema: Path | None,
    threshold: float | None,
) -> tuple[BundleManifest, dict[str, object]]:
    """Write the bundle; return with it what the model's live quality will be compared with: its loss on the rows."""
    if not source.is_file():
        raise NotFound(f"There is no file `{source}`", where="SOURCE")
    if rows is None or target is None:
        raise Invalid(
            "An .onnx file does not say what its columns and scores mean",
            where="--rows",
            next_step="give rows with outcomes: --rows known.csv --target NAME",
        )
    # numpy and DuckDB, as above
    import numpy as np

    from mainspring.bundle.format import write_bundle
    from mainspring.bundle.predictor import load_bundle
    from mainspring.data.profile import profile
    from mainspring.data.schema_file import read_schema
    from mainspring.data.table import frame_of, n_rows, read_columns
    from mainspring.evaluate.losses import default_loss, error_bound, loss
    from mainspring.registry.submit import schema_files
    from mainspring.train.features import days_of, infer_signature, target_index
    from mainspring.train.steps import check

    table = read_columns(rows)
    text = ""
    if schema is not None:
        check(frame_of(table), schema)
        text = read_schema(schema).text
    signature = infer_signature(table, target)
    sample = {name: table[name] for name in signature.names}
    manifest = write_bundle(
        folder,
        source.read_bytes(),
        signature,
        name=model,
        threshold=threshold,
        extra_files=schema_files(text, signature, sample),
        sample=sample,
        profile=profile(sample).to_json(),
    )
    truth, scores = target_index(table[target], signature), load_bundle(folder).predict(sample)
    bound = error_bound(truth, scores) if signature.task == "regression" else None
    losses, days = loss(signature.task, truth, scores, bound=bound), days_of(table, "")
    known: dict[str, object] = {
        "loss": {
            "kind": default_loss(signature.task),
            "mean": float(losses.mean()),
            "blocks": [float(losses[days == day].mean()) for day in np.unique(days)],
            "bound": bound,
        },
        "rows": {"test": n_rows(table)},
    }
    return manifest, known
