"""One table of settings: name, default, help text and environment variable.

`--help`, the docs page and the look-up itself are made from this table, so none of them can forget a setting.
Nothing here reads a file; values come from the environment when they are asked for.
"""

import os
from pathlib import Path
from typing import NamedTuple

from mainspring.errors import Invalid, nearest

__all__ = ["SETTINGS", "Setting", "home", "value_of"]


class Setting(NamedTuple):
    """One setting: `name` in the docs, `default` as text, `help` for people, `env` where the value is read."""

    name: str
    default: str
    help: str
    env: str


SETTINGS: tuple[Setting, ...] = (
    Setting("home", ".mainspring", "the workspace folder", "MAINSPRING_HOME"),
    Setting(
        "store",
        "",
        "metadata database, sqlite:///PATH or postgresql://USER@HOST/DATABASE (default: in the workspace)",
        "MAINSPRING_STORE",
    ),
    Setting(
        "artifacts",
        "",
        "folder, s3://, gs:// or az:// address for content-addressed bytes (default: in the workspace)",
        "MAINSPRING_ARTIFACTS",
    ),
    Setting(
        "features",
        "",
        "folder, or redis:// address, of features that are read online (default: in the workspace)",
        "MAINSPRING_FEATURES",
    ),
    Setting("retention", "30d", "how long deleted runs can be restored, before gc erases them", "MAINSPRING_RETENTION"),
    Setting(
        "prediction_retention",
        "",
        "how long gc lets predictions and labels be kept (default: for ever)",
        "MAINSPRING_PREDICTION_RETENTION",
    ),
    Setting(
        "executor", "", "where steps run: in-process, processes:N, ray:ADDRESS, dask:ADDRESS", "MAINSPRING_EXECUTOR"
    ),
    Setting(
        "memory", "", "what the table engine may use, such as 2GB (default: most of the machine's)", "MAINSPRING_MEMORY"
    ),
    Setting(
        "keys",
        "~/.config/mainspring/keys",
        "folder of the secret keys of pseudonyms and of encryption, kept apart from data and repository",
        "MAINSPRING_KEYS",
    ),
    Setting(
        "encryption",
        "",
        "names of secret keys: the one that artifacts and the sealed log are encrypted with, then older ones, NEW,OLD"
        " (default: they lie as they are)",
        "MAINSPRING_ENCRYPTION",
    ),
    Setting(
        "decrypted",
        "",
        "folder of the decrypted copies a process needs for as long as it lives (default: a file system in memory)",
        "MAINSPRING_DECRYPTED",
    ),
    Setting(
        "lease",
        "1m",
        "how long a tick of a schedule belongs to a scheduler that died, before another takes it over",
        "MAINSPRING_LEASE",
    ),
    Setting(
        "clock",
        "",
        "file with the moment to go by, such as 2013-04-01T06:00:00Z, in place of the machine's: a past is lived again",
        "MAINSPRING_CLOCK",
    ),
    Setting("url", "", "a control server that runs are sent to (default: the workspace)", "MAINSPRING_URL"),
    Setting("token", "", "who sends, to that server", "MAINSPRING_TOKEN"),
    Setting("actor", "", "who acts, in the audit log (default: the login name)", "MAINSPRING_ACTOR"),
    Setting("login", "off", "on: the control server asks everybody for a login", "MAINSPRING_LOGIN"),
    Setting(
        "webhooks_private",
        "off",
        "on: webhooks may reach private addresses and plain http",
        "MAINSPRING_WEBHOOKS_PRIVATE",
    ),
    Setting("oidc_issuer", "", "address of the OpenID Connect issuer whose logins are taken", "MAINSPRING_OIDC_ISSUER"),
    Setting("oidc_audience", "", "the audience that the issuer's tokens for us name", "MAINSPRING_OIDC_AUDIENCE"),
    Setting(
        "oidc_name_claim",
        "preferred_username",
        "which claim is the user's name, else sub",
        "MAINSPRING_OIDC_NAME_CLAIM",
    ),
    Setting(
        "oidc_roles_claim", "roles", "which claim lists roles; a.b reaches into objects", "MAINSPRING_OIDC_ROLES_CLAIM"
    ),
    Setting("debug", "", "set to anything: an unforeseen error shows its stack trace", "MAINSPRING_DEBUG"),
)


def value_of(name: str) -> str:
    """Return the value of the setting `name`: the environment's, else its default.

    Raises:
        Invalid: no setting has that name.
    """
    for setting in SETTINGS:
        if setting.name == name:
            return os.environ.get(setting.env, "") or setting.default
    raise Invalid(f"There is no setting `{name}`", next_step=nearest(name, [each.name for each in SETTINGS]))


def home() -> Path:
    """Return the workspace folder as an absolute path; it need not exist yet."""
    return Path(value_of("home")).expanduser().absolute()
