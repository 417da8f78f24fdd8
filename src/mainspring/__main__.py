"""``python -m mainspring``: the command line."""

from mainspring.cli.entry import entry

entry()
