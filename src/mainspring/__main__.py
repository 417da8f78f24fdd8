"""``python -m mainspring``: the command line."""

from mainspring.cli.main import entry

entry()
