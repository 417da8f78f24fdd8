"""What personal data looks like: patterns with their checksums as SQL, and the words by which columns are named.

Nothing here asks a network or a list of names. The patterns are RE2, which knows no looking around.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["NAMED", "PATTERNS", "Pattern", "named_kind"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of personal data by its form.

    `valid` gives the SQL that says whether a text of this form passes its checksum, and `chance` is the share of random
    texts of this form that do. `gate` is what a cell must contain, which is cheaper to ask than `form`.
    """

    kind: str
    form: str
    gate: str
    valid: Callable[[str], str] | None = None
    chance: float = 0.0


def _digits(text: str) -> str:
    return f"regexp_replace({text}, '[^0-9]', '', 'g')"


def _luhn(text: str) -> str:
    """Source: ISO/IEC 7812-1, annex B."""
    doubled = "CASE WHEN CAST(ch AS INTEGER) < 5 THEN 2 * CAST(ch AS INTEGER) ELSE 2 * CAST(ch AS INTEGER) - 9 END"
    each = f"CASE WHEN i % 2 = 1 THEN CAST(ch AS INTEGER) ELSE {doubled} END"
    total = f"list_sum(list_transform(string_split(reverse({_digits(text)}), ''), lambda ch, i: {each}))"
    return f"(length({_digits(text)}) BETWEEN 13 AND 19 AND {total} % 10 = 0)"


def _mod97(text: str) -> str:
    """Source: ISO 13616-1 and ISO/IEC 7064, MOD 97-10."""
    bare = f"upper(replace({text}, ' ', ''))"
    numbers = (
        f"list_transform(string_split(substr({bare}, 5) || substr({bare}, 1, 4), ''),"
        " lambda ch: CASE WHEN ch >= 'A' THEN ascii(ch) - 55 ELSE CAST(ch AS INTEGER) END)"
    )
    rest = f"list_reduce({numbers}, lambda a, v: (a * CASE WHEN v > 9 THEN 100 ELSE 10 END + v) % 97, 0)"
    return f"(length({bare}) BETWEEN 15 AND 34 AND {rest} = 1)"


def _long_enough(text: str) -> str:
    return f"length({_digits(text)}) BETWEEN 9 AND 15"


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_HEX = "[0-9A-Fa-f]{1,4}"

_IPV6 = rf"\b{_HEX}(?::{_HEX}){{7}}\b|\b{_HEX}(?::{_HEX}){{1,5}}::(?:{_HEX}(?::{_HEX}){{0,4}})?"
_PHONES = (
    r"\+[1-9][0-9]{0,2}[ ./()-]{0,2}[0-9][0-9 ./()-]{5,16}[0-9]\b",  # with the code of a country
    r"\b0[1-9][0-9]{1,4}[ /-][0-9]{3,}(?:[ -]?[0-9]{2,})*\b",  # with the code of a place
    r"\(?\b[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}\b",  # as North America writes it
)
_CARDS = (
    r"\b[3-6][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}\b",
    r"\b3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}\b",
)
_USERS = (
    r"https?://[^\s?#]*/(?:users?|u|profiles?|members?|accounts?)/[^\s/?#]+",
    r"https?://[^\s#]*[?&](?:user|uid|userid|email|mail|session|sid|token|customer|account)[a-z_]*=[^\s&#]+",
)

PATTERNS: tuple[Pattern, ...] = (
    Pattern("email", r"\b[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}\b", "@"),
    Pattern(
        "iban",
        r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        "[A-Z]{2}[0-9]{2}",
        _mod97,
        chance=1 / 97,
    ),
    Pattern("card", "|".join(_CARDS), "[3-6][0-9]{3}", _luhn, chance=0.1),
    Pattern("phone", "|".join(_PHONES), "[0-9]{2}", _long_enough),
    Pattern("ssn", r"\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\b", "-[0-9]{2}-"),
    Pattern("ip", rf"\b{_OCTET}(?:\.{_OCTET}){{3}}\b|{_IPV6}", "[.:]"),
    Pattern("mac", r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b", "[0-9A-Fa-f]{2}[:-]"),
    Pattern("user_url", "|".join(_USERS), "://"),
    Pattern("coordinates", r"[-+]?[0-9]{1,2}\.[0-9]{3,}, ?[-+]?[0-9]{1,3}\.[0-9]{3,}\b", r"\.[0-9]{3,}, ?"),
)

#: Words of a column's name that tell of personal data, by kind; each is one word or several that stand together.
NAMED: dict[str, tuple[str, ...]] = {
    "email": ("email", "mail", "e mail"),
    "phone": ("phone", "telephone", "mobile", "cellphone", "tel", "fax"),
    "person": ("first name", "last name", "full name", "middle name", "given name", "family name", "surname",
               "firstname", "lastname", "fullname", "maiden name", "passenger name", "customer name", "user name",
               "username", "patient name", "employee name"),
    "birth": ("birth", "birthday", "birthdate", "dob", "date of birth", "born"),
    "address": ("street", "address", "postcode", "postal code", "zip", "zipcode", "zip code", "house number"),
    "national_id": ("ssn", "social security", "national id", "passport", "tax id", "driver license", "driving licence"),
    "iban": ("iban", "account number", "bank account"),
    "card": ("card number", "credit card", "pan"),
    "ip": ("ip", "ip address", "client ip", "remote addr"),
    "special": ("religion", "ethnicity", "race", "diagnosis", "disability", "gender", "sex", "sexual orientation",
                "health", "political", "union member"),
    "coordinates": ("lat", "latitude", "lon", "lng", "longitude"),
}  # fmt: skip


def named_kind(name: str) -> str:
    """Return the kind of personal data that a column's name tells of, or nothing.

    >>> named_kind("customerEmail"), named_kind("date_of_birth"), named_kind("description")
    ('email', 'birth', '')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    text = " ".join(re.findall(r"[a-z]+", words.lower()))
    return next((kind for kind, listed in NAMED.items() if _names(listed, text)), "")


def _names(listed: Sequence[str], text: str) -> bool:
    return any(f" {each} " in f" {text} " for each in listed)
