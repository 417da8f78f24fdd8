"""`mainspring data key`: make the secret key of pseudonyms."""

import click

from mainspring.data.secret_keys import make_key

__all__ = ["key_command"]


@click.command("key")
@click.argument("name")
def key_command(name: str) -> None:
    """Make the secret key NAME for pseudonyms, in the folder of the setting `keys`. It is never shown or replaced.

    Keep a copy where the data is not: without the key later rows get other pseudonyms. Deleting it cuts the pseudonyms
    from the people for good.

    \b
    Example:
      mainspring data key customers
    """
    click.echo(str(make_key(name)))
