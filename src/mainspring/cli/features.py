"""`mainspring features`: views of features, joined for training, kept online for serving, and compared."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import click

from mainspring.cli.lazy import LazyGroup
from mainspring.cli.loading import load_file
from mainspring.cli.output import json_option, print_fields, print_json, print_table, when
from mainspring.domain.moments import end_of, parse_duration
from mainspring.errors import Invalid, NotFound, nearest
from mainspring.features.forgetting import forget
from mainspring.features.online import FeatureReader, newest_state
from mainspring.features.view import FeatureView
from mainspring.store.events import Event
from mainspring.workspace import Workspace

__all__ = [
    "features_command",
    "forget_command",
    "join_command",
    "list_command",
    "materialize_command",
    "read_command",
    "show_command",
    "skew_command",
]

#: Differences that are listed for people.
_MOST_SHOWN = 20
_COMMANDS: dict[str, tuple[str, str]] = {
    "forget": ("features", "forget an entity in every view of the online store"),
    "join": ("features", "put what was known beside the rows of a file"),
    "list": ("features", "list what is in the online store"),
    "materialize": ("features", "bring the online store up to date"),
    "read": ("features", "read the features of entities from the online store"),
    "skew": ("features", "compute served features again and fail where they differ"),
    "show": ("features", "show a view as it is declared in a file"),
}


@click.group("features", cls=LazyGroup, table=_COMMANDS)
def features_command() -> None:
    """Feature views: joined as of a moment for training, read online for serving.

    \b
    Example:
      mainspring features join features.py rides.parquet training.parquet --time asked_at
      mainspring features materialize features.py
      mainspring features read driver_stats 1001
    """


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the views in the online store, with the version and until when it is complete.

    \b
    Example:
      mainspring features list
    """
    with Workspace() as workspace:
        found = workspace.online.states()
    if as_json:
        print_json([
            {**each.definition, "version": each.version, "until": each.until, "written_at": each.written_at,
             "entities": each.entities}
            for each in found
        ])  # fmt: skip
        return
    rows = [
        [each.view.reference, ", ".join(each.view.keys), len(each.view.features), f"{each.entities:,}",
         when(each.until), each.view.source]
        for each in found
    ]  # fmt: skip
    empty = "Nothing is in the online store yet: mainspring features materialize FILE"
    print_table(["view", "keys", "features", "entities", "complete until", "source"], rows, empty=empty)


@click.command("show")
@click.argument("target")
@json_option
def show_command(target: str, as_json: bool) -> None:
    """Show the view in FILE[:NAME]: its definition, its version, and how it stands online.

    \b
    Example:
      mainspring features show features.py:driver_stats
    """
    (view,) = _views_in(target, only_one=True)
    with Workspace() as workspace:
        state = workspace.online.state(view.name, view.version)
    shown = {**view.to_json(), "version": view.version, "complete_until": None if state is None else state.until}
    if as_json:
        print_json(shown)
    else:
        print_fields(shown)


@click.command("join")
@click.argument("target")
@click.argument("entities", type=click.Path(path_type=Path))
@click.argument("to", type=click.Path(path_type=Path))
@click.option("--time", required=True, help="The column of ENTITIES that says as of when.")
@json_option
def join_command(target: str, entities: Path, to: Path, time: str, as_json: bool) -> None:
    """Write the rows of ENTITIES with the features of all views in FILE[:NAME,NAME] to the Parquet file TO.

    \b
    Example:
      mainspring features join features.py rides.parquet training.parquet --time asked_at
    """
    from mainspring.features.joining import join_features_to  # the table engine

    views = _views_in(target)
    with Workspace() as workspace, _sources(workspace, views) as sources:
        rows = join_features_to(to, entities, views, time=time, sources=sources)
    if as_json:
        print_json({"path": to, "rows": rows, "views": {each.name: each.version for each in views}})
        return
    click.echo(f"{to}: {rows:,} rows with {', '.join(each.reference for each in views)}")


@click.command("materialize")
@click.argument("target")
@click.option("--until", default="", help="As of when, such as 2026-01-31 or 2026-01-31T06:00Z [default: now].")
@click.option("--anew", is_flag=True, help="Compute every entity again.")
@json_option
def materialize_command(target: str, until: str, anew: bool, as_json: bool) -> None:
    """Bring the views in FILE[:NAME,NAME] up to date in the online store; only what has changed is computed.

    \b
    Example:
      mainspring features materialize features.py
    """
    from mainspring.features.materializing import materialize  # the table engine

    views = _views_in(target)
    with Workspace() as workspace, _sources(workspace, views) as sources:
        now = workspace.clock.now()
        moment = end_of(until) if until else now
        done = [
            materialize(each, sources[each.name], workspace.online, until=moment, now=now, anew=anew) for each in views
        ]
        for each in done:
            if each.written:
                details = {"version": each.view.version, "until": each.state.until, "entities": each.state.entities}
                event = Event("features.materialized", f"features/{each.view.name}", details)
                workspace.store.change(event, lambda transaction: None)
    if as_json:
        print_json([
            {"view": each.view.name, "version": each.view.version, "written": each.written, "anew": each.anew,
             "entities": each.state.entities, "until": each.state.until}
            for each in done
        ])  # fmt: skip
        return
    rows = [
        [each.view.reference, f"{each.written:,}", each.anew, f"{each.state.entities:,}", when(each.state.until)]
        for each in done
    ]
    print_table(["view", "computed", "all anew", "entities", "complete until"], rows)


@click.command("read")
@click.argument("view")
@click.argument("keys", nargs=-1, required=True)
@json_option
def read_command(view: str, keys: tuple[str, ...], as_json: bool) -> None:
    """Read the features of entities from VIEW or VIEW/VERSION; the KEYS of one entity are joined by commas.

    \b
    Example:
      mainspring features read driver_stats 1001 1002
      mainspring features read shop_stats Paris,17 --json
    """
    with Workspace() as workspace:
        state = newest_state(workspace.online.states(), view)
        reader = FeatureReader(workspace.online, state.view.name, state.version)
        found = reader.read([_key(each, reader) for each in keys], at=workspace.clock.now())
    names = state.view.names
    if as_json:
        rows = {
            key: None if row is None else dict(zip(names, row, strict=True))
            for key, row in zip(keys, found.rows, strict=True)
        }
        print_json({"view": state.view.name, "version": state.version, "until": found.until, "entities": rows})
        return
    table = [[key, *(row or [None] * len(names))] for key, row in zip(keys, found.rows, strict=True)]
    print_table([",".join(state.view.keys), *names], table)


@click.command("forget")
@click.argument("column")
@click.argument("values", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Let them be materialized again.")
@json_option
def forget_command(column: str, values: tuple[str, ...], undo: bool, as_json: bool) -> None:
    """Forget the entities whose key COLUMN has one of the VALUES, in every view and version of the online store.

    Their rows go at once, and no later materializing brings them back. Erase them at the source as well, for training
    reads that.

    \b
    Example:
      mainspring features forget driver_id 1001 1002
    """
    with Workspace() as workspace:
        done = forget(workspace.online, column, values, undo=undo)
        views = sorted({each.view for each in done})
        details = {"key": column, "values": len(values), "rows": sum(each.rows for each in done)}  # and not which
        event = Event("features.remembered" if undo else "features.forgotten", f"features/{','.join(views)}", details)
        workspace.store.change(event, lambda transaction: None)
    if as_json:
        print_json([{"view": each.view, "version": each.version, "rows": each.rows} for each in done])
        return
    print_table(["view", "rows erased"], [[f"{each.view}/{each.version[:12]}", f"{each.rows:,}"] for each in done])


@click.command("skew")
@click.argument("model")
@click.option("--since", default="1d", show_default=True, help="How far back, such as 6h.")
@click.option("--most", type=click.IntRange(1), default=100_000, show_default=True, help="Of the newest predictions.")
@click.option("--stale-ok", is_flag=True, help="Let values pass that were right when the view was materialized.")
@json_option
def skew_command(model: str, since: str, most: int, stale_ok: bool, as_json: bool) -> int:
    """Compute the features that predictions of MODEL were served again, as of then; exit with 1 where one differs.

    \b
    Example:
      mainspring features skew late-flights --since 7d
    """
    from mainspring.features.skew import check_skew, logged_views  # the table engine

    with Workspace() as workspace:
        workspace.seal()
        now = workspace.clock.now()
        span = {"since": now - parse_duration(since), "until": now + timedelta(seconds=1)}
        views = logged_views(workspace.log.looked_up(model, **span, most=most), workspace.online)
        with ExitStack() as stack:
            # one by one: two versions of a view have one name, and maybe two sources
            sources = {key: stack.enter_context(_sources(workspace, [each]))[key[0]] for key, each in views.items()}
            report = check_skew(workspace.log, model, workspace.online, sources, **span, most=most)
    wrong = report.skewed if stale_ok else report.found
    if as_json:
        print_json({"rows": report.rows, "values": report.values, "unchecked": report.unchecked, "skew": report.found})
        return 1 if wrong else 0
    rows = [
        [each.kind, each.prediction_id, each.view, each.feature, ",".join(map(str, each.keys.values())), when(each.at),
         each.served, each.computed]
        for each in report.found[:_MOST_SHOWN]
    ]  # fmt: skip
    if rows:
        print_table(["", "prediction", "view", "feature", "keys", "looked up", "served", "computed"], rows)
    if len(report.found) > _MOST_SHOWN:
        click.echo(f"and {len(report.found) - _MOST_SHOWN:,} more: --json lists all")
    if report.unchecked:
        click.echo(f"{report.unchecked:,} rows could not be checked: the log did not take their keys", err=True)
    stale = len(report.found) - len(report.skewed)
    click.echo(f"{report.rows:,} predictions, {report.values:,} values: {len(report.skewed):,} skewed, {stale:,} stale")
    return 1 if wrong else 0


def _key(words: str, reader: FeatureReader) -> list[object]:
    parts = words.split(",")
    if len(parts) != len(reader.key_kinds):
        raise Invalid(
            f"`{words}` has {len(parts)} keys and the view has {', '.join(reader.view.keys)}",
            where="KEYS",
            next_step="join the keys of one entity by commas",
        )
    return [
        int(part) if kind == "integer" and re.fullmatch(r"-?[0-9]+", part) else part
        for part, kind in zip(parts, reader.key_kinds, strict=True)
    ]


def _views_in(target: str, *, only_one: bool = False) -> list[FeatureView]:
    """Return the views that ``FILE[:NAME,NAME]`` names; without names, all of the file."""
    path, _, wanted = target.partition(":")
    views = {each.name: each for each in load_file(Path(path)).values() if isinstance(each, FeatureView)}
    for name in wanted.split(",") if wanted else ():
        if name not in views:
            raise NotFound(f"`{path}` declares no view `{name}`", next_step=nearest(name, views))
    found = [views[name] for name in wanted.split(",")] if wanted else list(views.values())
    if not found:
        raise NotFound(f"`{path}` declares no view", next_step="write view = ms.FeatureView(...) in it")
    if only_one and len(found) > 1:
        raise Invalid(f"`{path}` declares more than one view", next_step=f"name one: {path}:{found[0].name}")
    return found


@contextmanager
def _sources(workspace: Workspace, views: Sequence[FeatureView]) -> Iterator[dict[str, Path]]:
    from mainspring.features.sources import source_files  # the table engine

    with tempfile.TemporaryDirectory(prefix="mainspring-sources-") as folder:
        yield source_files(views, workspace.store, workspace.artifacts, Path(folder), at=workspace.clock.now())
