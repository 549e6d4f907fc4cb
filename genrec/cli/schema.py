"""``genrec schema``: the JSON Schema of a recipe, for editors."""


def command() -> None:
    """Print the JSON Schema of a recipe, including plugins, for editors.

    Save it and name it in the first line of a recipe: # yaml-language-server: $schema=recipe.schema.json
    """
    import sys

    from genrec.cli._output import print_json
    from genrec.cli._plugins import find_plugins
    from genrec.recipe.json_schema import recipe_schema

    find_plugins()
    schema, problems = recipe_schema()
    print_json(schema)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
