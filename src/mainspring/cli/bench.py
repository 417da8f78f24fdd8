"""`mainspring bench`: how many predictions a second a model's server answers, and how fast."""

import json
import tempfile
from html import escape
from pathlib import Path

import click

from mainspring.bundle.format import read_manifest
from mainspring.cli.output import json_option, print_json, print_table
from mainspring.domain.signature import Signature
from mainspring.errors import Invalid
from mainspring.registry.versions import find_version
from mainspring.serve.load import Load, measure
from mainspring.serve.process import ServerProcess
from mainspring.workspace import Workspace

__all__ = ["bench_command"]

_HEADINGS = ("clients", "rows", "requests/s", "rows/s", "p50 ms", "p99 ms", "max ms", "failed", "memory MiB")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ccc}"
    "i{display:block;height:.7rem;background:#37b}td.bar{width:14rem;text-align:left}:root{color-scheme:light dark}"
)


def _numbers(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(each) for each in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"`{text}` is no list of numbers; write 1,16,64") from error
    if not all(1 <= each <= 10_000 for each in found):
        raise click.BadParameter("each is a number from 1 to 10000")
    return found


@click.command("bench")
@click.argument("model")
@click.option(
    "--clients", default="1,16,64", show_default=True, callback=_numbers, help="At once, with commas between."
)
@click.option("--rows", default="1", show_default=True, callback=_numbers, help="In a request; commas between.")
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(0.1, 600), help="For each load.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes of the server.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with the figures here.")
@json_option
def bench_command(
    model: str,
    clients: tuple[int, ...],
    rows: tuple[int, ...],
    seconds: float,
    workers: int,
    report: Path | None,
    as_json: bool,
) -> None:
    """Load MODEL's own prediction server and print requests a second, times and memory.

    MODEL is name, name@alias, name/3 or a bundle's folder. The server is started for this on a free port of this
    machine, with its log in a temporary folder: nothing reaches the prediction log. Every client asks again as soon as
    it has its answer; server and clients share this machine's processors.

    \b
    Example:
      mainspring bench late-flights@champion
      mainspring bench late-flights --clients 1,64 --rows 1,100 --report bench.html
    """
    with Workspace() as workspace:
        folder = Path(model)
        if not (folder / "bundle.json").is_file():
            folder = workspace.served_bundle(find_version(workspace.store, model))
    manifest = read_manifest(folder)
    example = _example(manifest.signature, model)
    found: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as scratch:
        options = ("--workers", str(workers), "--recheck", "0")
        with ServerProcess.start(None, Path(scratch), bundles=[folder], options=options) as server:
            for count in rows:
                body = json.dumps({"rows": [example] * count}).encode()
                for each in clients:
                    click.echo(f"  {each} clients, {count} rows, {seconds:g} s ...", err=True)
                    path = f"/models/{manifest.name}/predict"
                    load = measure(server.url, path, body, rows=count, clients=each, seconds=seconds, pid=server.pid)
                    found.append(load)
    if report is not None:
        report.write_text(_page(model, workers, found), encoding="utf-8")
        click.echo(f"  wrote {report}", err=True)
    if as_json:
        print_json(found)
    else:
        print_table(_HEADINGS, [_cells(each) for each in found])


def _example(signature: Signature, model: str) -> dict[str, object]:
    if signature.example.keys() < set(signature.names):
        raise Invalid(
            f"`{model}` has no example row to ask about",
            where="signature",
            next_step="give the signature an example when the model is packed",
        )
    return {name: signature.example[name] for name in signature.names}


def _cells(load: Load) -> list[str]:
    return [
        str(load.clients), str(load.rows), f"{load.per_second:,.0f}", f"{load.rows * load.per_second:,.0f}",
        f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}", f"{load.most_ms:.2f}", str(load.failed), f"{load.memory_mib:.0f}",
    ]  # fmt: skip


def _page(model: str, workers: int, found: list[Load]) -> str:
    most = max(each.per_second for each in found)
    head = "".join(f"<th>{each}</th>" for each in (*_HEADINGS, ""))
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{cell}</td>" for cell in _cells(each))
        + f'<td class="bar"><i style="width:{100 * each.per_second / most:.1f}%"></i></td></tr>'
        for each in found
    )
    about = f"{workers} worker{'s' if workers > 1 else ''}; clients on the same machine, each asking again at once."
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Load on {escape(model)}</title>'
        f"<style>{_STYLE}</style><h1>Load on {escape(model)}</h1><p>{about}</p>"
        f"<table><tr>{head}</tr>{rows}</table></html>\n"
    )
