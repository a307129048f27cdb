"""`duogen data`: training documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from duogen.errors import InputError
from duogen.training.engine import cli as engine

app = typer.Typer(no_args_is_help=True)


@app.callback()
def root() -> None:
    """Make training documents: JSONL, with pictures beside it."""


app.command()(engine.web)
app.command()(engine.synthetic)
app.command()(engine.video)
app.command()(engine.convert)
app.command()(engine.report)


@app.command()
def world(
    output: Annotated[Path, typer.Option("--output", "-o", help="The JSONL file; pictures go into folders beside it.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many documents.")] = 1000,
    family: Annotated[list[str] | None, typer.Option(help="Only this family of tasks; repeatable.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same documents.")] = 0,
) -> None:
    """Draw documents of the procedural world that the default model is trained on; of its compositions for training alone."""
    from duogen.document import write_jsonl
    from duogen.training.data import FAMILIES, PRACTISED, draw_task
    from duogen.training.documents import document_of_task

    if unknown := set(family or ()) - set(FAMILIES):
        raise InputError(f"{', '.join(sorted(unknown))}: no such family; there are {', '.join(FAMILIES)}")
    if output.exists():
        raise InputError(f"{output}: exists already; choose another file with -o")
    shares = {name: PRACTISED[name] for name in family} if family else PRACTISED
    tasks = (draw_task(seed, index, shares=shares) for index in range(count))
    write_jsonl(map(document_of_task, tasks), output)
    print(output)
