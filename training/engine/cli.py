"""`duogen data web` and its kin: the data engine from the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from duogen.errors import DuoGenError, InputError, needed

if TYPE_CHECKING:
    from duogen.training.engine.answers import Model
    from duogen.training.engine.item import Loss, Step
    from duogen.training.engine.run import Engine, Job, Run, Work

Output = Annotated[
    Path, typer.Option("--output", "-o", help="A new folder: documents-*.jsonl, pictures, manifest.jsonl, report.html.")
]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="A TOML file with limits; docs/data-engine.md.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="local: this machine; ray: Ray, here or on the cluster of RAY_ADDRESS.")
]
Workers = Annotated[int, typer.Option(min=1, help="How many items are worked on at a time.")]
Writer = Annotated[
    str | None,
    typer.Option(
        "--llm",
        envvar="DUOGEN_DATA_LLM",
        help="A model that words texts anew, on an OpenAI-compatible server; rules do it without one.",
    ),
]
WriterUrl = Annotated[
    str | None, typer.Option("--llm-url", envvar="DUOGEN_DATA_LLM_URL", help="Its server, with the /v1.")
]
Viewer = Annotated[
    str | None, typer.Option("--mllm", envvar="DUOGEN_DATA_MLLM", help="A model that sees pictures and describes them.")
]
ViewerUrl = Annotated[
    str | None, typer.Option("--mllm-url", envvar="DUOGEN_DATA_MLLM_URL", help="Its server, with the /v1.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print where the result is, and nothing else.")]


def web(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="HTML files, folders of them, WARC files; with --fetch also .txt files with addresses."),
    ],
    output: Output,
    config: Config = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Fetch what isn't there: slowly, as robots.txt allows, public addresses only."),
    ] = False,
    resume: Resume = False,
    engine: EngineName = "local",
    workers: Workers = 1,
    llm: Writer = None,
    llm_url: WriterUrl = None,
    mllm: Viewer = None,
    mllm_url: ViewerUrl = None,
    quiet: Quiet = False,
) -> None:
    """Make dialogues of web pages, with their pictures. Nothing is fetched unless --fetch asks for it."""
    needed("data", "trafilatura", "py3langid", "warcio", "imagehash", "cv2", "datasketch", "ftfy")
    from duogen.training.engine import web as pages
    from duogen.training.engine.config import load_engine_config
    from duogen.training.engine.run import Run, engine_named
    from duogen.training.engine.sources import check

    lists = [path for path in inputs if path.suffix == ".txt"]
    if lists and not fetch:
        raise InputError(f"{lists[0]}: addresses are only fetched with --fetch")
    addresses = [line for path in lists for line in _lines(path)]
    folders = [path for path in inputs if path not in lists]
    check(folders)
    settings = load_engine_config(config)
    ran = engine_named(engine, workers)
    _check_models((llm, llm_url), (mllm, mllm_url))
    sources = {"web": [str(path.absolute()) for path in inputs], "fetch": fetch, "llm": llm, "mllm": mllm}
    run = Run(output, settings, sources, resume)
    lost: list[Loss] = []
    begin = pages.BeginPage(run.store.folder, settings, fetch)
    jobs = pages.jobs(folders, addresses, run.index, lost)
    steps = pages.finishing(settings, run.store.folder, _model(llm, llm_url, run), _model(mllm, mllm_url, run))
    _carry_out(run, ran, begin, jobs, steps, pages.STEPS, "Dialogues from web pages", quiet, lost)


def synthetic(
    output: Output,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many prompts, at most.")] = 100,
    taxonomy: Annotated[
        str | None,
        typer.Option(
            help="A TOML file with domains, subcategories and patterns; or world, the families of the procedural world. Without it, everyday domains."
        ),
    ] = None,
    prompts_only: Annotated[
        bool, typer.Option("--dry-run", help="Print the prompts and what they cover; make nothing.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            envvar="DUOGEN_MODEL",
            help="The DuoGen model that writes and paints; the default model without it.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(envvar="DUOGEN_DEVICE", help="cpu, cuda, cuda:1, ...")] = None,
    image_model: Annotated[
        str | None,
        typer.Option(help="Paints, in place of a DuoGen model, on an OpenAI-compatible server; --llm writes."),
    ] = None,
    image_url: Annotated[str | None, typer.Option(help="Its server, with the /v1.")] = None,
    max_pictures: Annotated[int, typer.Option(min=1, max=12, help="Pictures of an answer, at most.")] = 8,
    check: Annotated[
        float, typer.Option(min=0, max=1, help="Least chance that each picture shows what it should; 0 doesn't look.")
    ] = 0.5,
    config: Config = None,
    resume: Resume = False,
    engine: EngineName = "local",
    workers: Workers = 1,
    llm: Writer = None,
    llm_url: WriterUrl = None,
    mllm: Viewer = None,
    mllm_url: ViewerUrl = None,
    quiet: Quiet = False,
) -> None:
    """Make documents from prompts: a taxonomy, expanded without duplicates; answers that a model draws; a check of each picture."""
    needed("data", "datasketch", "ftfy", "py3langid", "cv2", "imagehash")
    import json

    from duogen.training.engine import synthetic as drawing
    from duogen.training.engine.config import load_engine_config
    from duogen.training.engine.prompts import Taxonomy, coverage, expand
    from duogen.training.engine.run import Run, engine_named

    settings = load_engine_config(config)
    known = Taxonomy.world() if taxonomy == "world" else Taxonomy.load(Path(taxonomy) if taxonomy else None)
    _check_models((llm, llm_url), (mllm, mllm_url), (image_model, image_url))
    if image_model and not llm:
        raise InputError(f"{image_model} paints; who writes? Say so with --llm")
    if prompts_only:
        prompts, _ = expand(known, count, settings.seed)
        for prompt in prompts:
            print(prompt.text)
        print(json.dumps(coverage(prompts, known)), file=sys.stderr)
        return
    ran = engine_named(engine, workers)
    sources = {
        "synthetic": taxonomy, "count": count, "model": model and str(model), "image_model": image_model, "llm": llm, "mllm": mllm,
        "max_pictures": max_pictures, "check": check,
    }  # fmt: skip
    run = Run(output, settings, sources, resume)
    writer, viewer = _model(llm, llm_url, run), _model(mllm, mllm_url, run)
    prompts, faults = expand(known, count, settings.seed, writer)
    for fault in faults[:10]:
        print(fault, file=sys.stderr)
    maker: drawing.Maker = drawing.Own(model, device, max_pictures)
    if image_model and writer is not None:
        maker = drawing.Endpoints(writer, image_model, image_url, viewer, max_pictures)
    draw, jobs = drawing.Draw(run.store.folder, maker, check), drawing.jobs(prompts, settings.seed)
    _carry_out(run, ran, draw, jobs, drawing.finishing(settings), drawing.STEPS, "Synthetic dialogues", quiet)
    if not quiet:
        print(json.dumps(coverage(prompts, known)), file=sys.stderr)


def video(
    inputs: Annotated[list[Path], typer.Argument(help="Video files, and folders of them.")],
    output: Output,
    config: Config = None,
    resume: Resume = False,
    engine: EngineName = "local",
    workers: Workers = 1,
    mllm: Viewer = None,
    mllm_url: ViewerUrl = None,
    quiet: Quiet = False,
) -> None:
    """Cut transitions from videos: a picture, what changes, and the picture some seconds later."""
    needed("data", "av", "scenedetect", "cv2")
    from duogen.training.engine import video as clips
    from duogen.training.engine.config import load_engine_config
    from duogen.training.engine.run import Run, engine_named
    from duogen.training.engine.sources import there

    there(inputs)
    settings = load_engine_config(config)
    ran = engine_named(engine, workers)
    _check_models((mllm, mllm_url))
    run = Run(output, settings, {"video": [str(path.absolute()) for path in inputs], "mllm": mllm}, resume)
    begin, jobs = clips.BeginVideo(run.store.folder, settings), clips.jobs(inputs, settings.video)
    steps = clips.finishing(run.store.folder, _model(mllm, mllm_url, run))
    _carry_out(run, ran, begin, jobs, steps, clips.STEPS, "Transitions from videos", quiet)


def convert(
    source: Annotated[Path, typer.Argument(help="A file of records: JSON, or JSON lines; pictures beside it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new file; pictures go into folders beside it.")],
    read_as: Annotated[
        str,
        typer.Option(
            "--from", "-f", help="duogen, ms-swift, llama-factory, llava, x2i2, sharegpt-4o-image, comm, zebra-cot."
        ),
    ] = "duogen",
    write_as: Annotated[str, typer.Option("--to", "-t", help="The same names.")] = "duogen",
) -> None:
    """Convert records of other projects to documents, and back. Exit code 3: some couldn't be."""
    from duogen.training.engine.records import FORMATS, read_records, write_records

    for name in (read_as, write_as):
        if name not in FORMATS:
            raise InputError(f"{name}: no such format; there are {', '.join(FORMATS)}")
    if output.exists():
        raise InputError(f"{output}: exists already; choose another file with -o")
    count, faults = write_records(read_records(source, read_as), output, write_as)
    for fault in faults[:20]:
        print(fault, file=sys.stderr)
    print(f"{count} records, {len(faults)} couldn't be converted", file=sys.stderr)
    print(output)
    if faults:
        raise typer.Exit(3)


def report(
    folder: Annotated[Path, typer.Argument(help="A folder that one of the commands before made.")],
) -> None:
    """Print what became of everything at each step; report.html shows samples."""
    import json

    from duogen.training.engine.report import read_manifest

    read_manifest(folder)
    try:
        counts = json.loads((folder / "counts.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: its counts.json can't be read") from error
    _print_counts(counts)
    print(folder / "report.html")


def _carry_out(
    run: Run, engine: Engine, begin: Work, jobs: Iterable[Job], finishing: Sequence[Step], steps: tuple[str, ...],
    title: str, quiet: bool, lost: Sequence[Loss] = (),
) -> None:  # fmt: skip
    """Does the work, with progress; then writes all that comes of it."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from duogen.training.engine.report import write_report

    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    with bar:
        task, seen = bar.add_task("items"), [0, 0]

        def told(record: Any) -> None:
            seen["dropped" in record] += 1
            bar.update(task, description=f"{sum(seen)} items worked on, {seen[1]} of them dropped")

        run.begin(begin, jobs, engine, told)
        run.finish(finishing, engine, told)
    run.write(lost)
    counts = write_report(run.folder, steps, run.facts, title)
    if not quiet:
        _print_counts(counts, sys.stderr)
        for loss in lost[:10]:
            print(f"{loss.what}: {loss.reason}", file=sys.stderr)
    print(run.folder / "manifest.jsonl")
    if not counts["kept"]:
        raise DuoGenError(f"nothing was kept; {run.folder / 'report.html'} says why")


def _print_counts(counts: dict[str, Any], file: Any = None) -> None:
    print(f"{'step':12}{'in':>8}{'out':>8}{'passages':>10}{'pictures':>10}", file=file)
    for row in counts["steps"]:
        print(f"{row['step']:12}{row['in']:8}{row['out']:8}{row['passages']:10}{row['pictures']:10}", file=file)
    print(f"{counts['kept']} documents of {counts['items']} items", file=file)


def _check_models(*given: tuple[str | None, str | None]) -> None:
    for name, url in given:
        if url is not None and name is None:
            raise InputError(f"{url}: which model of that server? Say so with --llm or --mllm")


def _model(name: str | None, url: str | None, run: Run) -> Model | None:
    if name is None:
        return None
    needed("chat", "openai")
    from duogen.training.engine.answers import Model

    return Model(name, url, run.answers)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read as text") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
