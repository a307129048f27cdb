"""`duogen batch`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from duogen.agent import cli as plans
from duogen.errors import InputError


def batch(
    requests: Annotated[
        Path,
        typer.Argument(
            help="JSONL or CSV with the fields request, custom_id, images, seed, ...; or one request a line."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for all plans, one folder each.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Go on, and try again what has failed.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many lines.")] = None,
    shard: Annotated[
        str, typer.Option(help="I/N: only every Nth line, from the Ith on; for N of these commands at a time.")
    ] = "1/1",
    at_once: Annotated[int, typer.Option(min=1, max=256, help="How many plans are in flight.")] = 16,
    to: Annotated[str, typer.Option(help="Further formats of each plan: pdf, docx, epub, with commas between.")] = "",
    engine: Annotated[
        str, typer.Option(help="local: this process; ray: Ray actors, here or on the cluster of RAY_ADDRESS.")
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, help="How many Ray actors, a model each.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="How many GPUs a Ray actor gets; a fraction shares one.")] = 0,
    model: plans.Model = None,
    device: plans.Device = None,
    backend: plans.Backend = "torch",
    memory: plans.Memory = "",
    quiet: plans.Quiet = False,
) -> None:
    """Answer many requests: a folder each, manifest.json and index.html.

    A line that can't be used harms no other. Interrupted, it goes on with --resume. Exit code 3: some have failed.
    """
    from duogen.agent.batch import Batch, Engine, Local, Outcome
    from duogen.agent.lines import read_items
    from duogen.loading import load
    from duogen.tools.export import formats_of

    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", shard)
    if match is None or int(match[1]) > int(match[2]):
        raise InputError(f"--shard must be I/N with I from 1 to N, not {shard!r}")
    first, count = int(match[1]), int(match[2])
    if engine not in ("local", "ray"):
        raise InputError(f"--engine must be local or ray, not {engine!r}")
    formats = formats_of(to)
    items = read_items(requests)[first - 1 :: count][:limit]
    made = Batch(output, requests.parent, (first, count))
    known = made.outcomes()
    if known and not (resume or retry_failed):
        raise InputError(f"{output}: a batch is there already; go on with --resume, or choose another folder")
    again = {name for name, outcome in known.items() if retry_failed and outcome.status == "failed"}
    todo = [item for item in items if item.custom_id not in known or item.custom_id in again]

    def working() -> Engine:
        if engine == "ray":
            from duogen.agent.batch_ray import RayEngine

            return RayEngine(model, device, backend, memory, workers, at_once, formats, gpus)
        return Local(load(model, device, backend, memory=memory), at_once, formats)  # type: ignore[arg-type]

    progress = _Progress(len(items), len(items) - len(todo), quiet)

    def told(outcome: Outcome) -> None:
        progress.step(outcome.status == "failed")

    if todo:
        try:
            with progress:
                made.run(working(), todo, told)
        except KeyboardInterrupt:
            made.write_manifest(items)
            raise
    finished = made.write_manifest(items)
    failed = [outcome for outcome in finished if outcome.status == "failed"]
    if not quiet:
        for outcome in failed[:20]:
            print(f"line {outcome.number}: {outcome.error}", file=sys.stderr)
        if len(failed) > 20:
            print(f"... and {len(failed) - 20} more, in {made.manifest}", file=sys.stderr)
        print(f"{len(finished) - len(failed)} plans, {len(failed)} failed, {len(todo)} worked on", file=sys.stderr)
    print(made.manifest)
    if failed:
        raise typer.Exit(3)


class _Progress:
    """A bar with an estimate on stderr, where that is a terminal."""

    def __init__(self, total: int, done: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
            console=console, disable=quiet or not console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("plans", total=total, completed=done)
        self.failed = 0

    def __enter__(self) -> _Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, failed: bool) -> None:
        self.failed += failed
        said = f"plans ({self.failed} failed)" if self.failed else "plans"
        self.bar.update(self.task, advance=1, description=said)
