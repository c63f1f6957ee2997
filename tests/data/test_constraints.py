"""Values that the constructors' signatures refuse, before anything is built."""

import pytest

from sparring.config.errors import UserError
from sparring.config.validation import check


@pytest.mark.parametrize(
    ("choice", "key", "value"),
    [
        ("audio", "sample_rate", 10),
        ("audio", "length", 4),
        ("audio", "count", 3),
        ("text", "length", 1),
        ("text", "vocabulary_size", 0),
        ("ring", "sigma", -0.1),
        ("grid", "spacing", 0),
        ("moving_digits", "speed", 0),
        ("image_folder", "crop", 0),
        ("stacked_mnist", "count", 0),
        ("moving_digits", "frames", 0),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(choice, key, value, composed):
    with pytest.raises(UserError, match=rf"data\.{key}[=: ]"):
        check(
            composed(f"data={choice}", *(["data.path=x"] if choice == "image_folder" else []), f"++data.{key}={value}")
        )
