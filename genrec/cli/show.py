"""``genrec show``: a recipe with all defaults."""

from genrec.cli._options import AsJson, Overrides, RecipeFile


def command(recipe: RecipeFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a recipe with all defaults, as YAML that is a valid recipe."""
    from genrec.cli._output import print_json
    from genrec.recipe import dump_recipe, load_recipe

    loaded = load_recipe(recipe, overrides or ())
    if as_json:
        print_json(loaded.block())
    else:
        print(dump_recipe(loaded), end="")
