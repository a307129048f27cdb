"""`duogen eval`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from duogen.agent.cli import Backend, MeasuredSteps, Memory
from duogen.errors import InputError
from duogen.evaluation.public.cli import WithBenchmarks, compare

app = typer.Typer(cls=WithBenchmarks, no_args_is_help=True)
app.command()(compare)


@app.callback()
def group() -> None:
    """Measure a model."""


@app.command()
def world(
    split: Annotated[
        str, typer.Option(help="train, or held-out: compositions that training never shows.")
    ] = "held-out",
    family: Annotated[
        list[str] | None, typer.Option(help="A family of tasks; may be given several times. All without it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many requests.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Chooses other requests.")] = 0,
    steps: MeasuredSteps = None,
    guidance: Annotated[float | None, typer.Option(min=1, max=30, help="Guidance scale.")] = None,
    step_cache: Annotated[float, typer.Option(min=0, max=1, help="Skip steps whose velocity changes by less.")] = 0.0,
    self_check: Annotated[
        int,
        typer.Option(
            min=0, max=16, help="Let the model check its pictures: paint a wrong one again, so often at most."
        ),
    ] = 0,
    only: Annotated[
        str | None,
        typer.Option(help="text: the MLLM alone, shown true pictures; pictures: the DiT alone, behind true text."),
    ] = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", envvar="DUOGEN_MODEL", help="A model folder.")] = None,
    backend: Backend = "torch",
    memory: Memory = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report there, as JSON.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write an HTML page with every answer beside the truth there.")
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(help="Write the first wrong picture of each family beside the true one to this folder."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that answer, of one thread each.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score a model in the procedural world, without a judge.

    The table shows every score for each family and overall, what pictures that can't be right would score, and how well
    the parser reads true pictures.
    """
    from duogen.document import write_atomically
    from duogen.evaluation.progress import progress
    from duogen.evaluation.run import Requests, answers_to
    from duogen.evaluation.world import build_report
    from duogen.models.sampler import PaintSettings
    from duogen.training.data import FAMILIES

    if split not in ("train", "held-out"):
        raise InputError(f"{split}: no such split; there are train and held-out")
    _check_families(family)
    if self_check and only:
        raise InputError("--self-check is for whole answers: leave out --only")
    if only not in (None, "text", "pictures"):
        raise InputError(f"{only}: there is --only text and --only pictures")
    settings = PaintSettings(steps=steps, guidance=guidance, step_cache=step_cache, seed=seed)
    chosen = model, split, tuple(family or ()), limit, seed, settings, only, self_check, backend, memory
    requests = Requests(*chosen)  # type: ignore[arg-type]
    agent = requests.agent()
    answers, began, told = [], time.monotonic(), progress("requests", 20)
    for number, answered in enumerate(answers_to(requests, agent, jobs), 1):
        answers.append(answered)
        told(number, limit)
    seconds = time.monotonic() - began
    report = build_report(answers)
    report["settings"] = {
        **agent.pipeline.resolve(settings).model_dump(),
        **{"split": split, "families": family or list(FAMILIES), "requests": limit, "seed": seed, "only": only},
        **{"self_check": self_check, "backend": backend, "memory": memory},
        "seconds": round(seconds, 1),
    }
    if output is not None:
        write_atomically(output, json.dumps(report, indent=2).encode())
    if page is not None:
        from duogen.evaluation.page import page as page_of

        write_atomically(page, page_of(answers, table(report)).encode())
    if failures is not None:
        from duogen.evaluation.gallery import show_failures

        print(show_failures(answers, failures), file=sys.stderr)
    print(json.dumps(report, indent=2) if as_json else table(report))


@app.command()
def gallery(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the pictures.")] = Path("gallery"),
    family: Annotated[
        list[str] | None, typer.Option(help="A family of tasks; may be given several times. All without it.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses other requests.")] = 0,
    model: Annotated[Path | None, typer.Option("--model", "-m", envvar="DUOGEN_MODEL", help="A model folder.")] = None,
) -> None:
    """Show one answer of each family, the first that comes, as Markdown with pictures."""
    from duogen.evaluation.gallery import show_families
    from duogen.loading import load
    from duogen.training.data import FAMILIES

    _check_families(family)
    print(show_families(load(model), family or list(FAMILIES), output, seed))


def _check_families(names: list[str] | None) -> None:
    from duogen.training.data import FAMILIES

    for name in names or ():
        if name not in FAMILIES:
            raise InputError(f"{name}: no such family; there are {', '.join(FAMILIES)}")


COLUMNS = {
    "emission_f1": "emission F1",
    "plan_legal_and_goal": "plan ok",
    "plan_optimal": "optimal",
    "text_answers_exact": "answers",
    "step_state_accuracy": "state",
    "sequence_exact": "sequence",
    "text_picture_agreement": "agreement",
    "untouched_kept": "kept",
}
SAID = {
    "text": ("emission_f1", "plan_legal_and_goal", "plan_optimal", "text_answers_exact"),
    "pictures": ("step_state_accuracy",),
    None: tuple(COLUMNS),
}
"""What is the model's own in each way to run it: the rest was given to it."""


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown table, of what was the model's own work."""
    settings, parser = report["settings"], report["parser"]
    # What nothing was counted for, since no such request was made, has no column.
    counted = [key for key in SAID[settings["only"]] if report["scores"]["overall"][key] is not None]
    columns = {key: COLUMNS[key] for key in counted}
    rows = [["", *columns.values()], ["---"] * (len(columns) + 1)]
    named = dict(report["scores"])
    if settings["only"] is None:
        named |= {f"floor: {name}": rates for name, rates in report["floors"].items()}
    for name, rates in named.items():
        rows.append([name, *("-" if rates[key] is None else f"{rates[key]:.3f}" for key in columns)])
        if name == "overall":
            ranges = [report["intervals"][name][key] for key in columns]
            rows.append(["95 % interval", *("-" if r is None else f"{r[0]:.2f}-{r[1]:.2f}" for r in ranges)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    steps = f"{settings['steps']} steps"
    if settings["first_steps"] != settings["steps"]:
        steps += f" ({settings['first_steps']} for a first picture)"
    painted = "true pictures" if settings["only"] == "text" else f"{steps}, guidance {settings['guidance']}"
    if settings["only"] != "text" and report["state_by_picture"]:
        curve = [
            f"{number}: {at['accuracy']:.2f} ({at['pictures']})" for number, at in report["state_by_picture"].items()
        ]
        lines.append(f"\nState accuracy of picture {', '.join(curve)}.")
    if report["depict_tags"] and settings["only"] != "text":
        tags = ", ".join(f"{tag} {rate:.2f}" for tag, rate in report["depict_tags"].items())
        lines.append(f"\nDepict by tag (read by the world's own parser, not GenEval's): {tags}.")
    overall = report["scores"]["overall"]
    if settings["only"] != "text" and overall["psnr"] is not None:
        lines.append(f"\nAgainst the true pictures: PSNR {overall['psnr']:.1f} dB, SSIM {overall['ssim']:.3f}.")
    if settings["self_check"]:
        lines.append(_self_check(overall, settings["self_check"]))
    lines.append(
        f"\n{settings['requests']} {settings['split']} requests, {report['pictures']} pictures, {painted}, "
        f"{settings['seconds']} s. "
        f"Parser on true renders: {parser['clean']:.4f} clean, {parser['noised']:.4f} noised ({parser['pictures']})."
    )
    return "\n".join(lines)


def _self_check(overall: dict[str, float | None], times: int) -> str:
    """What the model's look at its own pictures was worth."""
    named = {
        "states of first attempts": "first_attempt_state_accuracy", "states of what was kept": "step_state_accuracy",
        "rejected pictures that are wrong (precision)": "check_precision",
        "wrong pictures that are rejected (recall)": "check_recall",
    }  # fmt: skip
    said = [f"{name} {overall[key]:.3f}" for name, key in named.items() if overall[key] is not None]
    return f"\nSelf-check, at most {times} more attempts: {', '.join(said)}."
