"""``genrec serve``: recommendations of finished runs over HTTP, and a web page."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import Data, Device, ThreadCount


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of finished runs; the first is the default run.", show_default=False
        ),
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any that is free.")] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help="File with the key that requests must have. Default: GENREC_API_KEY, if it is set.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Name in the header Host to accept besides localhost and IP addresses; may be repeated.",
            show_default=False,
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            "--cors",
            metavar="ORIGIN",
            help="Origin of web pages that may use the service, such as https://shop.example; may be repeated.",
            show_default=False,
        ),
    ] = None,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, help="Most histories computed together; 1: no batches.")
    ] = 64,
    max_wait: Annotated[
        float,
        typer.Option("--max-wait", help="Longest pause between requests for which a batch waits, in milliseconds."),
    ] = 10.0,
    deadline: Annotated[
        float, typer.Option("--deadline", help="Seconds after which a request is answered with status 503.")
    ] = 10.0,
    queue: Annotated[
        int, typer.Option("--queue", help="Histories that may wait; further requests get status 429.")
    ] = 1024,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Batches computed at the same time.")] = 1,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Load the datasets of the runs for images of the items.")
    ] = True,
    data: Data = None,
    device: Device = "auto",
    threads: ThreadCount = None,
) -> None:
    """Serve recommendations of finished runs over HTTP, with a web page."""
    import os

    from genrec.api.inputs import parse_threads
    from genrec.cli._plugins import find_plugins
    from genrec.errors import GenrecError
    from genrec.experiment.saved_model import recipe_of_run
    from genrec.runtime.environment import Environment
    from genrec.runtime.progress import console, verbosity
    from genrec.runtime.threads import threads as computing_on
    from genrec.runtime.threads import threads_for

    requested = parse_threads(threads)
    try:
        from genrec.serving.service.server import serve
        from genrec.serving.service.service import Service
        from genrec.serving.service.settings import ServiceSettings
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "genrec":
            raise
        raise GenrecError(f"genrec serve: package {error.name} is missing; pip install 'genrec[serve]'") from error
    settings = ServiceSettings(
        max_batch=max_batch,
        max_wait_ms=max_wait,
        queue_size=queue,
        deadline_s=deadline,
        workers=workers,
        api_key=_read_key(api_key_file, os.environ.get("GENREC_API_KEY")),
        hosts=tuple(name.lower() for name in [host, *(allow_host or [])]),
        origins=tuple(cors or ()),
    )
    if host not in ("127.0.0.1", "::1", "localhost") and settings.api_key is None:
        console.print(
            f"warning: --host {host} without an API key: whoever reaches this port can use the service; "
            "pass --api-key-file FILE",
            markup=False,
        )
    find_plugins()
    environment = Environment(device, data=data)
    environment.check_device()
    service = Service(runs, settings, environment=environment, with_images=images)
    count = threads_for(requested, recipe_of_run(next(iter(service.folders.values()))).block())
    if count is not None and requested in (None, "auto"):
        count = max(1, count // workers)
    with computing_on(count):
        serve(service, host, port, log_requests=verbosity() == "verbose")


def _read_key(file: Path | None, of_environment: str | None) -> str | None:
    """The API key: the first line of the file, else that of the environment.

    Raises:
        GenrecError: the file cannot be read.
    """
    from genrec.errors import GenrecError
    from genrec.runtime.files import reason

    if file is None:
        return of_environment or None
    try:
        return (file.read_text(encoding="utf-8").splitlines() or [""])[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = reason(error) if isinstance(error, OSError) else "is no UTF-8 text"
        raise GenrecError(f"--api-key-file {file}: cannot be read: {problem}") from error
