from __future__ import annotations

import pytest

from semla_ros.errors import ConfigError
from semla_ros.images.classes import CITYSCAPES_COLORS, ClassInfo, class_names, class_table


def test_classes_are_numbered_in_order_and_take_the_cityscapes_colours() -> None:
    assert class_table(["sky", "road"]) == (
        ClassInfo(0, "sky", (70, 130, 180)),
        ClassInfo(1, "road", (128, 64, 128)),
    )


def test_the_nineteen_cityscapes_classes_have_nineteen_colours() -> None:
    assert len(CITYSCAPES_COLORS) == len(set(CITYSCAPES_COLORS.values())) == 19


def test_given_colours_take_precedence() -> None:
    assert class_table(["sky"], {"sky": (1, 2, 3)})[0].color == (1, 2, 3)


def test_a_hundred_unknown_classes_get_a_hundred_colours() -> None:
    colors = [c.color for c in class_table([f"thing {i}" for i in range(100)])]
    assert len(set(colors)) == 100
    assert all(0 <= channel <= 255 for color in colors for channel in color)


def test_a_synonym_takes_the_colour_of_the_first_name() -> None:
    assert class_table(["car, automobile"])[0].color == CITYSCAPES_COLORS["car"]


def test_the_colour_of_a_name_with_synonyms_is_found_by_the_whole_name_and_by_the_first_synonym() -> None:
    colors = {"road, street": (1, 2, 3)}
    assert [each.color for each in class_table(["road, street"], colors)] == [(1, 2, 3)]
    assert [each.color for each in class_table(["road"], colors)] == [(1, 2, 3)]
    assert class_table(["street"], colors)[0].color != (1, 2, 3)


def test_a_class_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="sky"):
        class_table(["road", "sky", "car", "sky"])


@pytest.mark.parametrize("names", [[" "], ["road", ","], [""]])
def test_a_class_without_a_name_is_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="class without a name"):
        class_table(names)


def test_names_that_differ_in_spaces_alone_are_the_same() -> None:
    with pytest.raises(ConfigError, match="class named twice"):
        class_table(["road", "road "])


def test_a_class_is_named_by_its_first_synonym_unless_another_class_has_the_same() -> None:
    table = class_table(["car, automobile", " road ", "plant, tree", "plant, grass"])
    assert class_names(table) == ["car", "road", "plant, tree", "plant, grass"]
