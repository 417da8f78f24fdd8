"""`mainspring data`: the table of its commands; each is imported when it is called."""

import click

from mainspring.cli.lazy import LazyGroup

__all__ = ["data_command"]

_COMMANDS: dict[str, tuple[str, str]] = {
    "add": ("datasets", "keep a file or folder as the next version of a dataset"),
    "check": ("tables", "check a file against a schema"),
    "checkout": ("datasets", "write the bytes of a version, or of what a pin names"),
    "clean": ("quarantine", "clean a file by a schema's rules; set bad rows aside"),
    "diff": ("tables", "compare two files or dataset versions"),
    "fetch": ("remotes", "bring a version from a remote, and what a pin names to its place"),
    "join": ("large", "put the columns of one file beside the rows of another"),
    "key": ("secret_key", "make the secret key of pseudonyms"),
    "leaks": ("tables", "name columns that know too much"),
    "list": ("datasets", "list dataset versions, newest first"),
    "log": ("datasets", "tell the versions of one dataset, with their tags"),
    "personal": ("personal", "name columns that hold personal data"),
    "pin": ("datasets", "write the small text file that says which version belongs somewhere"),
    "profile": ("tables", "say what is in a file"),
    "pull": ("pull", "fetch rows or files from elsewhere as the next version"),
    "push": ("remotes", "bring a version to a folder or bucket that others fetch from"),
    "quarantine": ("quarantine", "list ingestions, or the rows that one set aside"),
    "release": ("quarantine", "put rows from quarantine into a new version"),
    "schema": ("tables", "print the schema that a file has now"),
    "show": ("datasets", "tell of one version what it is and where it came from"),
    "split": ("large", "deal the rows of a file into train, validation and test"),
    "status": ("data_status", "say what has changed beside pins"),
    "suspects": ("suspects", "order the rows that are likely wrong, and try mending them"),
    "tag": ("datasets", "give a version a name of its own"),
}


@click.group("data", cls=LazyGroup, table=_COMMANDS)
def data_command() -> None:
    """Version, pin, compare, describe and check datasets.

    \b
    Example:
      mainspring data add images --pin          # images/1, and images.pin for git
      mainspring data status
      mainspring data checkout images.pin
      mainspring data schema customers.csv > customers.schema.yaml
      mainspring data check new.csv customers.schema.yaml
      mainspring data clean new.csv customers.schema.yaml --name customers
    """
