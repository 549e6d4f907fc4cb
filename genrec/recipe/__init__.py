"""Recipes: YAML -> checked objects, or all errors at once. Imports no torch."""

from genrec.recipe.loading import load_recipe, parse_recipe, recipe_of
from genrec.recipe.problems import InvalidRecipeError, Problem
from genrec.recipe.schema import Recipe, Stream

__all__ = [
    "InvalidRecipeError",
    "Problem",
    "Recipe",
    "Stream",
    "load_recipe",
    "parse_recipe",
    "recipe_of",
]
