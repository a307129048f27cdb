"""`duogen train`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from duogen.errors import InputError


def train(
    recipe: Annotated[str, typer.Argument(help="default, debug, or a TOML file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run's folder; runs/RECIPE without it.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="A model folder to go on from, in place of nothing; see the recipe's `start`.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run this part alone (tokenizer, codec, pretrain, stage1, stage2, assemble); repeatable."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop after so long; the next call goes on.")] = None,
    device: Annotated[str, typer.Option(envvar="DUOGEN_DEVICE", help="cpu, cuda, cuda:1, ...")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw training data; useful with a GPU.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Make a model: tokenizer, codec, pretraining, stage 1, stage 2.

    Stopped at any time, it goes on from its last checkpoint.
    """
    from duogen.loading import usable
    from duogen.training.config import load_recipe
    from duogen.training.recipe import PARTS, Run

    for part in only or []:
        if part not in PARTS:
            raise InputError(f"{part}: no such part; there are {', '.join(PARTS)}")
    chosen = load_recipe(recipe)
    if start is not None:
        chosen.start = start
    run = Run(chosen, output or Path("runs") / Path(recipe).stem, quiet, usable(device), workers)
    began = time.monotonic()
    for part in only or PARTS:
        left = None if minutes is None else minutes * 60 - (time.monotonic() - began)
        if (left is not None and left <= 0) or not run.part(part, left):
            print(f"{part}: stopped after {minutes} minutes; run the same command again to go on")
            return
        print(f"{part}: done")
