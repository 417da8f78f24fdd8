"""`mainspring data key`: make a secret key, for pseudonyms or for encryption at rest."""

import click

from mainspring.artifacts.secret_keys import make_key

__all__ = ["key_command"]


@click.command("key")
@click.argument("name")
def key_command(name: str) -> None:
    """Make the secret key NAME, in the folder of the setting `keys`. It is never shown or replaced.

    It serves pseudonyms (the word `key` of a schema) or encryption at rest (the setting `encryption`). Keep a copy
    where the data is not: without it later rows get other pseudonyms, and encrypted bytes are lost. Deleting it cuts
    the pseudonyms from the people for good.

    \b
    Example:
      mainspring data key customers
    """
    click.echo(str(make_key(name)))
