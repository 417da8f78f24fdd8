"""How people write versions."""

import pytest

from mainspring.domain.version import ModelVersion, check_alias, check_model_name, check_served_name, parse_model
from mainspring.errors import Invalid, Refused


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("late-flights", ("late-flights", None, None)),
        ("late-flights/3", ("late-flights", 3, None)),
        ("late-flights@champion", ("late-flights", None, "champion")),
        ("A.b_c-1/12", ("A.b_c-1", 12, None)),
        ("my model@Prod", ("my model", None, "Prod")),
        ("a@b@c", ("a@b", None, "c")),
    ],
)
def test_a_reference_is_a_name_with_a_number_or_an_alias(text: str, parts: tuple[object, ...]) -> None:
    assert parse_model(text) == parts


@pytest.mark.parametrize(
    "text", ["", "/3", "a/", "a/x", "a/-1", "a/²", "a/1/2", "a@", "a@b c", "../a", "a:b", "..", "a\n"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_model(text)


def test_a_version_is_written_as_it_is_read() -> None:
    version = ModelVersion("m", 3, "a" * 64, None, "ready", "", "")  # type: ignore[arg-type]
    assert parse_model(version.reference) == ("m", 3, None)
    assert check_model_name("m") == "m"


@pytest.mark.parametrize("name", ["a b", "Übung", "a@b", "x" * 101])
def test_a_registered_name_may_be_more_than_a_served_one(name: str) -> None:
    assert check_model_name(name) == name
    with pytest.raises(Invalid, match="cannot be served"):
        check_served_name(name)


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V12", "", "a b", "a.b", "x" * 256])
def test_an_alias_is_a_word_that_stands_for_nothing_else(alias: str) -> None:
    with pytest.raises(Invalid):
        check_alias(alias)
    assert check_alias("Prod_v1-a") == "Prod_v1-a"


def test_a_version_without_files_says_so_to_who_needs_them() -> None:
    version = ModelVersion("m", 3, None, None, "registered", "", "", source="s3://bucket/m")
    with pytest.raises(Refused, match="registered from `s3://bucket/m`"):
        _ = version.kept_bundle
