"""``genrec run``: a recipe -> its report."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson, Data, Device, Overrides, RecipeFile, Seed, ThreadCount, TrustPlugins


def command(
    recipe: RecipeFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Folder of the run (default: runs/<recipe>-<time>).", show_default=False
        ),
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: ThreadCount = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a finished run of another recipe in --output, and list its files.")
    ] = False,
    trust_plugins: TrustPlugins = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe: encode, tokenize, train, search, merge, evaluate and report, with confidence intervals."""
    import genrec
    from genrec.cli._output import print_json, results
    from genrec.runtime.files import read_json

    run = genrec.run(
        recipe,
        output,
        overrides,
        data=data,
        seed=seed,
        device=device,
        threads=threads,
        force=force,
        trust_plugins=trust_plugins,
    )
    if as_json:
        print_json(read_json(run.path / "metrics.json"))
        return

    from genrec.reporting.report_terminal import print_report
    from genrec.runtime.progress import console

    print_report(run.report, results(), run.path)
    console.print(f"report: {run.report_html}", markup=False)
