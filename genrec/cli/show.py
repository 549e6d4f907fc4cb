"""``genrec show``: a recipe with all defaults."""

from genrec.cli._options import AsJson, Overrides, RecipeFile, Seed


def command(recipe: RecipeFile, overrides: Overrides = None, seed: Seed = None, as_json: AsJson = False) -> None:
    """Print a recipe with all defaults, as YAML that is a valid recipe."""
    import genrec
    from genrec.api.inputs import override_texts
    from genrec.cli._output import print_json
    from genrec.runtime.progress import console

    loaded = genrec.load_recipe(recipe, override_texts(overrides, seed))
    if as_json:
        print_json(loaded.block())
    else:
        print(loaded.to_yaml(), end="")
    for note in loaded.notes():
        console.print(f"note: {note}", markup=False)
