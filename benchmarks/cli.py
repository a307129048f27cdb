"""`duogen bench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from duogen.agent.cli import Device, MeasuredSteps, Model
from duogen.errors import InputError

BATCHES: dict[str, Literal["torch", "onnx"]] = {"batch": "torch", "batch on onnx": "onnx"}
"""What many requests run on; in this order, since onnxruntime leaves torch one thread from then on."""


def bench(
    work: Annotated[
        list[str] | None,
        typer.Option(
            help="'one picture', 'plan of 2' (4, 8, 16), 'edit of 1' (4, 8), 'batch', 'batch on onnx', 'start-up'; repeatable. All without it."
        ),
    ] = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            help="stock, strict, fast, onnx, 'few steps', fast without a part ...; repeatable. All without it."
        ),
    ] = None,
    at_once: Annotated[
        list[int] | None, typer.Option(min=1, max=256, help="Plans at a time, for 'batch'; repeatable.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Runs of each, after one that warms up.")] = 3,
    steps: MeasuredSteps = None,
    guidance: Annotated[float | None, typer.Option(min=1, max=30, help="Guidance scale; 1 switches it off.")] = None,
    model: Model = None,
    device: Device = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the figures there, as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time this model's fast path against a plain composition of the stock libraries, side by side.

    All run in turns, each in a process of its own; the ratios mean more than the seconds. Nothing else should run on the machine.
    """
    from duogen.benchmarks.batch import flops_a_token, throughput
    from duogen.benchmarks.machine import describe, matrix_peak, start_up
    from duogen.benchmarks.racer import racers
    from duogen.benchmarks.report import save, tables
    from duogen.benchmarks.rivals import RIVALS
    from duogen.benchmarks.run import compare
    from duogen.benchmarks.work import WORKS
    from duogen.loading import load
    from duogen.models.sampler import PaintSettings

    all_works = [*WORKS, *BATCHES, "start-up"]
    works, rivals = work or all_works, rival or list(RIVALS)
    for name, known in (*((name, all_works) for name in works), *((name, RIVALS) for name in rivals)):
        if name not in known:
            raise InputError(f"{name!r} is none of {', '.join(known)}")
    agent = load(model, device)
    settings = agent.pipeline.resolve(PaintSettings(steps=steps, guidance=guidance))
    peak = matrix_peak()
    report: dict[str, Any] = {
        "machine": describe(), "peak_flops": peak, "repeats": repeats, "steps": settings.steps,
        "guidance": settings.guidance, "works": {},
    }  # fmt: skip

    def note(said: str) -> None:
        print(said, file=sys.stderr)

    timed = [name for name in works if name in WORKS]
    with racers(rivals if timed else [], None if model is None else str(model), device) as ready:
        for name in timed:
            report["works"][name] = compare(ready, name, settings, repeats, peak, note)
            if output is not None:
                save(report, output)
    batches = {name: backend for name, backend in BATCHES.items() if name in works}
    if batches:
        flops = flops_a_token(agent, settings)
        report["batches"] = {
            name: throughput(
                load(model, device, backend), at_once or [1, 2, 4, 8, 16, 32], settings, repeats, peak, flops, note
            )
            for name, backend in batches.items()
        }
    if "start-up" in works:
        report["start_up"] = start_up()
    if output is not None:
        save(report, output)
    print(json.dumps(report, indent=2) if as_json else tables(report))
