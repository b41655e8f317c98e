from pathlib import Path

import pytest
import yaml
from pydantic import Field

from operando.core.errors import FileError, RecipeError
from operando.pipeline import RECIPES, load
from operando.pipeline.settings import Settings, read_yaml, resolve, template, validate


class Inner(Settings):
    size: int = Field(3, ge=1, description="how large")


class Outer(Settings):
    name: str = Field(description="a name")
    inner: Inner = Field(Inner(), description="Part.")


def test_every_fault_is_reported_at_once_with_its_key_and_value():
    with pytest.raises(RecipeError) as caught:
        validate(Outer, {"inner": {"size": 0, "sise": 2}, "nam": "x"}, where="run.yaml")
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 4
    assert "inner.size: input should be greater than or equal to 1, got 0." in faults
    assert "inner.sise: unknown key. Did you mean 'size'?" in faults
    assert "name: is needed but missing" in faults
    assert "nam: unknown key. Did you mean 'name'?" in faults


def test_a_template_is_valid_yaml_with_every_key_and_its_meaning():
    text = template(Outer, heading="A heading", given={"name": "cell"})
    assert text.startswith("# A heading")
    assert yaml.safe_load(text) == {"name": "cell", "inner": {"size": 3}}
    assert "# how large" in text


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_template_of_every_recipe_passes_its_own_checks_of_keys(name):
    recipe = RECIPES[name]
    settings = validate(recipe.settings, yaml.safe_load(recipe.template()), where=name)
    assert settings.recipe == name
    assert all(field.description for field in recipe.settings.model_fields.values())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [1", "line"),
        ("a: 1\na: 2", "the key 'a' stands twice"),
        ("- 1", "a recipe is a mapping"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_with_the_place(tmp_path, text, fault):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=fault):
        read_yaml(path)


def test_a_missing_recipe_says_how_to_make_one(tmp_path):
    with pytest.raises(FileError, match="operando new"):
        load(tmp_path / "none.yaml")


def test_an_unknown_recipe_suggests_the_nearest(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("recipe: cell-tc\n")
    with pytest.raises(RecipeError, match="Did you mean 'cell-ct'"):
        load(path)


def test_paths_are_beside_the_recipe_unless_a_variable_says_otherwise(monkeypatch):
    monkeypatch.setenv("CELL_DATA", "/data")
    assert resolve("${CELL_DATA:-x}/a.tif", Path("/here")) == Path("/data/a.tif")
    assert resolve("${NOT_SET:-x}/a.tif", Path("/here")) == Path("/here/x/a.tif")
    assert str(resolve("a.h5#/entry/data", Path("/here"))) == "/here/a.h5#/entry/data"
