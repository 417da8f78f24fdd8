"""How people write versions."""

import pytest

from mainspring.domain.version import ModelVersion, check_model_name, parse_model
from mainspring.errors import Invalid


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("late-flights", ("late-flights", None, None)),
        ("late-flights/3", ("late-flights", 3, None)),
        ("late-flights@champion", ("late-flights", None, "champion")),
        ("A.b_c-1/12", ("A.b_c-1", 12, None)),
    ],
)
def test_a_reference_is_a_name_with_a_number_or_an_alias(text: str, parts: tuple[object, ...]) -> None:
    assert parse_model(text) == parts


@pytest.mark.parametrize("text", ["", "/3", "a/", "a/x", "a/-1", "a/²", "a/1/2", "a@", "a@X", "a@b@c", "../a", "a b"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_model(text)


def test_a_version_is_written_as_it_is_read() -> None:
    version = ModelVersion("m", 3, "a" * 64, None, "ready", "", "")  # type: ignore[arg-type]
    assert parse_model(version.reference) == ("m", 3, None)
    assert check_model_name("m") == "m"
