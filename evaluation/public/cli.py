"""`duogen eval geneval`, `gedit`, ... and `duogen eval compare`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from duogen.agent.cli import MeasuredSteps
from duogen.errors import InputError

NAMES = {
    "geneval": "GenEval: 553 prompts, four pictures each; objects, counts, colours, positions, by a detector.",
    "gedit": "GEdit-Bench: edits of real pictures, by a judge (VIEScore, 0 to 10).",
    "imgedit": "ImgEdit: 737 edits of nine types, by a judge (1 to 5).",
    "cooking200": "Cooking-200: recipes from a picture of the dish or its name, by a judge (1 to 5).",
    "howto500": "How-to-500: open how-to questions, by a judge (1 to 5).",
    "interleavedbench": "InterleavedBench: 815 interleaved requests of ten uses, by a judge (0 to 5).",
    "comm": "CoMM: documents of steps, four tasks, by a judge (0 to 10).",
    "opening": "OpenING: 2,160 interleaved requests of 56 tasks, by a judge (0 to 10).",
    "ueval": "UEval: 1,000 questions with criteria of their own, by a judge (share met).",
}
SCORING = "Scoring"
JUDGING = "Judge"


def benchmarks() -> dict[str, Any]:
    """The classes of all benchmarks, by their names."""
    from duogen.evaluation.public import comm, documents, editing, geneval, interleaved, ueval

    kinds: Sequence[Any] = (
        geneval.GenEval, editing.GEdit, editing.ImgEdit, documents.Cooking200, documents.HowTo500,
        interleaved.InterleavedBench, comm.CoMM, interleaved.OpenING, ueval.UEval,
    )  # fmt: skip
    return {kind.name: kind for kind in kinds}


def _command(name: str) -> Callable[..., None]:
    def command(
        ctx: typer.Context,
        output: Annotated[Path, typer.Option("--output", "-o", help="The folder for answers, scores and report.")],
        data: Annotated[
            Path | None, typer.Option(help="The data set, a folder or a file. GenEval's is built in.")
        ] = None,
        step: Annotated[str, typer.Option(help="generate, score, or both one after the other.")] = "both",
        model: Annotated[
            Path | None, typer.Option("--model", "-m", envvar="DUOGEN_MODEL", help="A model folder.")
        ] = None,
        subset: Annotated[
            str, typer.Option(help="gedit: en, cn, all. cooking200: image, text. comm: task1 to 4.")
        ] = "",
        limit: Annotated[int | None, typer.Option(min=1, help="So many questions, evenly from all.")] = None,
        samples: Annotated[
            int | None, typer.Option(min=1, help="Answers a question; the authors' number without it.")
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Chooses other pictures.")] = 0,
        steps: MeasuredSteps = None,
        guidance: Annotated[float | None, typer.Option(min=1, max=30, help="Guidance scale.")] = None,
        width: Annotated[int | None, typer.Option(min=16, help="Of drawn pictures.")] = None,
        height: Annotated[int | None, typer.Option(min=16, help="Of drawn pictures.")] = None,
        max_pictures: Annotated[int, typer.Option(min=1, max=64, help="An answer ends after so many.")] = 12,
        device: Annotated[str | None, typer.Option(envvar="DUOGEN_DEVICE", help="cpu, cuda, cuda:1, ...")] = None,
        memory: Annotated[str, typer.Option(help="How weights are kept, as in duogen plan.")] = "",
        shard: Annotated[str, typer.Option(help="0/4: the first of four processes that share generating.")] = "0/1",
        rewriter: Annotated[
            str | None, typer.Option(help="Let this model reword prompts first; the report says so.")
        ] = None,
        rewriter_url: Annotated[str | None, typer.Option(help="Its server, with /v1.")] = None,
        partial: Annotated[
            bool, typer.Option("--partial", help="Score what is there, and say what isn't.", rich_help_panel=SCORING)
        ] = False,
        detector: Annotated[
            Path | None, typer.Option(help="GenEval: a Mask2Former checkpoint.", rich_help_panel=SCORING)
        ] = None,
        clip: Annotated[Path | None, typer.Option(help="GenEval: a CLIP checkpoint.", rich_help_panel=SCORING)] = None,
        judge: Annotated[
            str | None, typer.Option(help="The judge's name to its server.", rich_help_panel=JUDGING)
        ] = None,
        judge_url: Annotated[
            str | None,
            typer.Option(
                envvar="DUOGEN_JUDGE_URL",
                help="An OpenAI-compatible server, with /v1; its key is DUOGEN_JUDGE_KEY.",
                rich_help_panel=JUDGING,
            ),
        ] = None,
        votes: Annotated[
            int, typer.Option(min=1, max=32, help="Times each answer is judged.", rich_help_panel=JUDGING)
        ] = 1,
        temperature: Annotated[
            float | None,
            typer.Option(
                max=2, help="0 for one vote and 1 for several without it; below 0 sends none.", rich_help_panel=JUDGING
            ),
        ] = None,
        max_side: Annotated[
            int | None, typer.Option(min=64, help="Longest side of pictures that it is shown.", rich_help_panel=JUDGING)
        ] = None,
        tries: Annotated[
            int, typer.Option(min=1, max=20, help="For an answer of the schema.", rich_help_panel=JUDGING)
        ] = 3,
        timeout: Annotated[
            float, typer.Option(min=0.1, help="Seconds to wait for it.", rich_help_panel=JUDGING)
        ] = 120.0,
        workers: Annotated[
            int, typer.Option(min=1, max=256, help="Answers judged at a time.", rich_help_panel=JUDGING)
        ] = 4,
        as_published: Annotated[
            bool,
            typer.Option("--as-published", help="With the defects of the authors' scorer.", rich_help_panel=JUDGING),
        ] = False,
        labels: Annotated[
            Path | None,
            typer.Option(help="People's ratings: JSON lines with id, criterion, score.", rich_help_panel=JUDGING),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what judging would take, and stop.", rich_help_panel=JUDGING)
        ] = False,
        price: Annotated[
            tuple[float, float] | None,
            typer.Option(help="Of a million tokens read, and written, for --dry-run.", rich_help_panel=JUDGING),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    ) -> None:
        from duogen.evaluation.public.run import Options, run

        if step not in ("generate", "score", "both"):
            raise InputError(f"--step must be generate, score or both, not {step!r}")
        run(benchmarks()[name], Options.model_validate(ctx.params))

    return command


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="A run's folder, or its report.json.")],
    two: Annotated[Path, typer.Argument(metavar="B", help="Another one's.")],
) -> None:
    """Tell whether two models differ on a benchmark: paired by question, with 95 % intervals and p."""
    from rich.console import Console
    from rich.table import Table

    from duogen.evaluation.public.report import compared, load, otherwise

    first, second = load(one), load(two)
    if first["benchmark"] not in NAMES:
        raise InputError(f"{one}: a report of no benchmark that is known here: {first['benchmark']!r}")
    rows = compared(first, second, benchmarks()[first["benchmark"]].metrics)
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows[1:]:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(f"A: {first['model']} ({one})\nB: {second['model']} ({two})", highlight=False)
    for line in otherwise(first, second):
        console.print(f"scored otherwise: {line}", highlight=False)
    console.print(table)


class WithBenchmarks(TyperGroup):
    """A group with a command for each benchmark. Each is made when it is asked for: nine times so many options would cost every start of
    `duogen` a quarter of its time."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands.update(dict.fromkeys(NAMES))  # type: ignore[arg-type]  # their names alone, for lists and suggestions

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in NAMES:
            return super().get_command(ctx, cmd_name)
        alone = typer.Typer(add_completion=False)
        says = f"{NAMES[cmd_name]}\n\nAnswers are laid out as the authors' scorer reads them."
        alone.command(cmd_name, help=says)(_command(cmd_name))
        return typer.main.get_command(alone)
