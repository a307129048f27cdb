"""`duogen train`: the small model from nothing, and both stages on real checkpoints."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from duogen.errors import InputError

app = typer.Typer(no_args_is_help=True)
Config = Annotated[
    Path, typer.Argument(help="A TOML file: the model's folder, the documents, the stage; docs/training.md.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The run's folder; its model is in OUTPUT/model.")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Stop after so long; the next call goes on.")]
Device = Annotated[
    str | None, typer.Option(envvar="DUOGEN_DEVICE", help="cpu, cuda; a GPU, where there is one, without it.")
]
Start = Annotated[Path | None, typer.Option("--model", "-m", help="A model folder in place of the configuration's.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


@app.command()
def world(
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
    minutes: Minutes = None,
    device: Annotated[str, typer.Option(envvar="DUOGEN_DEVICE", help="cpu, cuda, cuda:1, ...")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw training data; useful with a GPU.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Make a small model from nothing: tokenizer, codec, pretraining, stage 1, stage 2.

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


@app.command()
def stage1(
    config: Config,
    output: Output,
    model: Start = None,
    minutes: Minutes = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Instruction-tune the MLLM on documents; the rest of the model stays as it is.

    Started by torchrun or accelerate launch, it shares its work and its weights among all processes.
    """
    _tune(config, output, "stage1", model, minutes, device, quiet)


@app.command()
def stage2(
    config: Config,
    output: Output,
    model: Start = None,
    minutes: Minutes = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Align connector and DiT with the frozen MLLM, on documents."""
    _tune(config, output, "stage2", model, minutes, device, quiet)


@app.command()
def show_batch(
    config: Config,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the pictures and the page.")],
    stage: Annotated[str, typer.Option(help="stage1 or stage2.")] = "stage1",
    model: Start = None,
    number: Annotated[int, typer.Option(min=0, help="Which pack.")] = 0,
) -> None:
    """Print one pack: tokens, what is trained on, positions; and draw it, with its pictures, on a page."""
    from duogen.agent.cli import must_be_new
    from duogen.training.tuning.show import show

    must_be_new(output)
    print(show(_stage(config, stage, model, output / "run", "cpu"), number, output))


def _tune(
    config: Path, output: Path, name: str, model: Path | None, minutes: float | None, device: str | None, quiet: bool
) -> None:
    made = _stage(config, name, model, output, device)
    try:
        if made.world.first and made.left_out and not quiet:
            print(
                f"{made.left_out} of {len(made.records)} documents are left out: too long for a pack, or nothing to learn",
                file=sys.stderr,
            )
        done = made.run(
            None if minutes is None else minutes * 60, quiet, _sampler(made.stage, output, made.world.device)
        )
        if made.world.first:
            left = f"stopped after {minutes} minutes; run the same command again to go on"
            print(output / "model" if done else f"{name}: {left}")
    finally:
        made.world.leave()


def _stage(config: Path, name: str, model: Path | None, output: Path, device: str | None) -> Any:
    import torch

    from duogen.loading import hush, usable
    from duogen.training.tuning.config import load_tuning
    from duogen.training.tuning.sharding import World
    from duogen.training.tuning.stages import LanguageStage, PaintingStage

    hush()
    chosen = load_tuning(config)
    if model is not None:
        chosen.model = model
    kinds = {"stage1": LanguageStage, "stage2": PaintingStage}
    if name not in kinds:
        raise InputError(f"--stage must be stage1 or stage2, not {name!r}")
    stage = getattr(chosen, name)
    if stage is None:
        raise InputError(f"{config}: has no section [{name}]")
    world = World.join(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    usable(str(world.device))
    return kinds[name](chosen, stage, output, world)


def _sampler(stage: Any, output: Path, device: object) -> Any:
    """Makes plans, and scores in the world, with a model as it is on the way."""

    def on_snapshot(step: int, folder: Path) -> None:
        from duogen.document import write_atomically
        from duogen.loading import load

        agent = load(folder, str(device))
        shutil.rmtree(output / "samples" / f"step-{step}", ignore_errors=True)  # of a run that was killed behind it
        for number, request in enumerate(stage.sample_requests):
            agent.plan(
                request, folder=output / "samples" / f"step-{step}" / str(number), max_pictures=8, max_tokens=1024
            )
        if stage.world_tasks:
            from duogen.evaluation.run import Requests, answers_to
            from duogen.evaluation.world import build_report
            from duogen.models.sampler import PaintSettings

            requests = Requests(folder, "held-out", (), stage.world_tasks, 0, PaintSettings())
            report = build_report(list(answers_to(requests, agent)))
            write_atomically(output / "samples" / f"step-{step}" / "world.json", json.dumps(report, indent=2).encode())

    return on_snapshot if stage.sample_requests or stage.world_tasks else None
