"""Every kind of value is drawn in both themes, with its description; wrong options are refused."""

from dataclasses import replace

import pytest

from convscope.errors import ParameterError
from convscope.render.palette import THEMES
from convscope.values import Comparison
from tests.render.example_values import RECORD, VALUES, attribution, prediction, rgb


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", VALUES)
def test_every_kind_of_value_is_drawn_in_both_themes_with_words(name: str, theme: str) -> None:
    value = VALUES[name]
    picture = value.picture(theme=theme)
    height, width, channels = picture.pixels.shape
    assert height > 200
    assert width > 400
    assert channels == 3
    assert tuple(picture.pixels[0, 0]) == rgb(THEMES[theme].page)
    assert len(picture.alt) > 20


def test_a_wrong_theme_or_option_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="theme must be light or dark, got 'pink'"):
        attribution().picture(theme="pink")
    with pytest.raises(ParameterError, match="no option 'scale'"):
        attribution().picture(scale=3)
    with pytest.raises(ParameterError, match="no option 'limit'"):
        prediction().picture(limit=3)


@pytest.mark.parametrize(
    "label", ["$\\frac{a}{b", "<script>alert(1)</script>", "漢字 \x00\n tab\there", "_^{}%#&~", "x" * 400]
)
def test_hostile_names_are_drawn_as_they_are(label: str) -> None:
    record = replace(RECORD, input=f"/tmp/{label}.png", model={"name": label}, caveats=(label,))
    value = attribution(target=label, record=record, layers=(label,))
    assert value.picture().pixels.any()
    assert prediction(labels=(label, label), record=record).picture().pixels.any()
    assert Comparison(rows=((value,),)).picture().pixels.any()
