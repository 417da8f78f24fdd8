"""`mainspring data push` and `mainspring data fetch`: dataset versions between workspaces, by a folder or bucket."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json
from mainspring.data.pinned import checkout_pin
from mainspring.data.pins import ENDING, read_pin, write_pin
from mainspring.data.remotes import Moved, fetch_version, push_version
from mainspring.errors import Invalid
from mainspring.workspace import Workspace

__all__ = ["fetch_command", "push_command"]


@click.command("push")
@click.argument("reference")
@click.option("--to", "target", default="", metavar="PLACE", help="A folder, s3://, gs:// or az:// [a pin's remote].")
@click.option("--verify", is_flag=True, help="Read back what is there already, and put again what is damaged.")
@json_option
def push_command(reference: str, target: str, verify: bool, as_json: bool) -> None:
    """Bring NAME, NAME/VERSION, NAME@TAG or what a PIN names to PLACE, from where others fetch it.

    Only what is missing there moves; a push that was stopped goes on when it is called again. A pin remembers PLACE, so
    that whoever has the pin can fetch.

    \b
    Example:
      mainspring data push images.pin --to s3://team/data && git add images.pin
    """
    pin = read_pin(Path(reference)) if reference.endswith(ENDING) else None
    target = target or (pin.remote if pin else "")
    if not target:
        raise Invalid("It is not said where to", where="--to", next_step="say --to PLACE, a folder or a bucket")
    if "://" not in target:
        target = str(Path(target).expanduser().absolute())
    with Workspace() as workspace:
        moved = push_version(
            workspace.store, workspace.artifacts, f"{pin.dataset}/{pin.version}" if pin else reference, target,
            at=workspace.clock.now(), verify=verify, tell=_tell, digest=pin.digest if pin else "",
        )  # fmt: skip
    if pin and pin.remote != target:
        write_pin(Path(reference), pin._replace(remote=target))
    _say(moved, f"at {target}", as_json)


@click.command("fetch")
@click.argument("reference")
@click.option("--from", "place", default="", metavar="PLACE", help="Where it was pushed to [a pin's remote].")
@click.option("--force", is_flag=True, help="Replace what is beside the pin, though no version may hold it.")
@json_option
def fetch_command(reference: str, place: str, force: bool, as_json: bool) -> None:
    """Bring NAME, NAME/VERSION or what a PIN names from PLACE into this workspace; what a pin names is checked out.

    Only what is missing here moves, each object verified; a fetch that was stopped goes on when it is called again.

    \b
    Example:
      git clone team/project && cd project && mainspring data fetch images.pin
      mainspring data fetch flights/3 --from s3://team/data
    """
    pin = read_pin(Path(reference)) if reference.endswith(ENDING) else None
    place = place or (pin.remote if pin else "")
    if not place:
        raise Invalid("It is not said where from", where="--from", next_step="say --from PLACE, a folder or a bucket")
    with Workspace() as workspace:
        moved = fetch_version(
            workspace.store, workspace.artifacts, f"{pin.dataset}/{pin.version}" if pin else reference, place,
            at=workspace.clock.now(), tell=_tell, digest=pin.digest if pin else "",
        )  # fmt: skip
        if pin:
            checkout_pin(Path(reference), workspace.artifacts, workspace.indexes, force=force)
    _say(moved, f"at {pin.path}" if pin else "here", as_json)


def _say(moved: Moved, where: str, as_json: bool) -> None:
    if as_json:
        print_json(moved._asdict())
        return
    there = f", {moved.already:,} were there" if moved.already else ""
    click.echo(f"{moved.version.reference} is {where}: {moved.objects:,} objects, {moved.size_bytes:,} bytes{there}")


def _tell(done: int, of: int) -> None:
    if of >= 100 and done % max(1, of // 10) == 0:
        click.echo(f"  {done:,} of {of:,} objects", err=True)
