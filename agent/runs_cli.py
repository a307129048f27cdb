"""`duogen runs`: plans that were made or begun, by their ids."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duogen.agent import cli as plans
from duogen.agent.cli import must_be_new, slug
from duogen.errors import InputError

if TYPE_CHECKING:
    from duogen.agent.runs import Note, RunFolder

app = typer.Typer(invoke_without_command=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="A run's id, or how it begins.")]


@app.callback()
def list_runs(
    ctx: typer.Context,
    as_json: plans.AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="How many of the latest are listed.")] = 20,
) -> None:
    """List the latest runs. A run that was interrupted, or waits for a review, can be resumed."""
    if ctx.invoked_subcommand is not None:
        return
    from duogen.agent.runs import known_runs

    runs = known_runs()[:limit]
    if as_json:
        print(json.dumps([_summary(note, run) for note, run in runs], ensure_ascii=False, indent=2))
        return
    for note, run in runs:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(note.began))
        print(f"{note.id}  {began}  {_status(note, run):<11}  {note.pictures:>2}  {_printable(note.title)[:60]}")
    if not runs:
        print("no runs yet; duogen plan makes one", file=sys.stderr)


@app.command()
def show(run: Id, as_json: plans.AsJson = False) -> None:
    """Show a run: where it is, how it stands, what was rejected on the way."""
    from duogen.agent.runs import find_run

    note, folder = find_run(run)
    summary = _summary(note, folder)
    if as_json:
        print(json.dumps(summary, ensure_ascii=False, indent=2))
        return
    for name, value in summary.items():
        if name != "trace":
            print(f"{name:<9} {_printable(str(value))}")
    for entry in note.trace:
        why = f"{entry['why']:.2f}" if isinstance(entry["why"], float) else entry["why"]
        print(f"rejected  picture {entry['picture']} by {entry['by']} ({why}), {entry['sha256'][:16]}")


@app.command()
def resume(
    run: Id,
    request: Annotated[str | None, typer.Argument(help="A follow-up, where the run is finished.")] = None,
    review: plans.Review = False,
    planner: plans.PlannerName = "native",
    planner_url: plans.PlannerUrl = None,
    planner_model: plans.PlannerModel = None,
    model: plans.Model = None,
    device: plans.Device = None,
    backend: plans.Backend = "torch",
    as_json: plans.AsJson = False,
    quiet: plans.Quiet = False,
) -> None:
    """Finish an interrupted run, or follow up on a finished one; as `duogen plan -c` does with its folder."""
    from duogen.agent.runs import find_run

    _, folder = find_run(run)
    plans.plan(
        request, continue_=folder.folder, review=review, planner=planner, planner_url=planner_url, planner_model=planner_model, model=model, device=device, backend=backend, as_json=as_json,
        quiet=quiet,
    )  # fmt: skip


@app.command("export")
def export_run(
    run: Id, output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the copy.")]
) -> None:
    """Write a finished run's document into another folder, without what only the run itself needs."""
    from duogen.document import Document
    from duogen.tools.export import write_plan

    folder = _finished(run)
    must_be_new(output)
    print(write_plan(Document.load(folder), output))


def export(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="A run's id, or how it begins; or a plan's folder.")],
    to: Annotated[str, typer.Option(help="Formats, with commas between: md, html, pdf, docx, epub.")] = "html",
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the files.")] = Path("."),
    name: Annotated[
        str | None, typer.Option(help="The files' name, without suffix; the title, where it is left out.")
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="A template of your own: *.html.j2 or *.md.j2 (Jinja), *.typ (Typst, for pdf).")
    ] = None,
) -> None:
    """Write a plan as an instruction booklet: a title, what is needed, numbered steps with pictures."""
    from duogen.document import Document
    from duogen.tools.booklet import title_of
    from duogen.tools.export import export as write
    from duogen.tools.export import formats_of

    folder = Path(plan)
    document = Document.load(folder if (folder / "plan.json").is_file() else _finished(plan))
    chosen = name or slug(title_of(document)) or "plan"
    if not re.fullmatch(r"[\w][\w .-]{0,100}", chosen):
        raise InputError(f"{chosen[:80]!r} can't be the name of a file")
    formats = formats_of(to)
    for each in formats:
        if (output / f"{chosen}.{each}").exists():
            raise InputError(
                f"{output / f'{chosen}.{each}'}: exists already; choose another folder with -o, or a --name"
            )
    for path in write(document, formats, output, chosen, template):
        print(path)


def _finished(run: str) -> Path:
    """The folder of a finished run."""
    from duogen.agent.runs import find_run

    note, folder = find_run(run)
    if note.status != "finished":
        raise InputError(f"{note.id} isn't finished; duogen runs resume {note.id} goes on with it")
    return folder.folder


@app.command()
def delete(
    runs: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or how they begin.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete runs with their documents and pictures. Other files in their folders stay."""
    from duogen.agent.runs import find_run

    found = [find_run(run) for run in runs]
    for note, folder in found:
        if not yes and not typer.confirm(f"Delete {folder.folder} ({_printable(note.title)[:60]})?", err=True):
            continue
        folder.delete()
        print(note.id)


def _status(note: Note, run: RunFolder) -> str:
    if note.status == "running" and not run.at_work:
        return "interrupted"
    return note.status


def _summary(note: Note, run: RunFolder) -> dict[str, object]:
    return {
        "id": note.id,
        "request": note.title,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(note.began)),
        "status": _status(note, run),
        "reason": note.reason,
        "pictures": note.pictures,
        "folder": str(run.folder),
        "trace": list(note.trace),
    }


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
