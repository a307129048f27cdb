"""`duogen plan`, `draw` and `edit`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from duogen.errors import InputError

# What needs pydantic, or torch, is imported where it is used: `duogen --help` mustn't wait for either.

Images = Annotated[list[Path] | None, typer.Option("--image", "-i", help="A picture to start from; repeatable.")]
Seed = Annotated[int, typer.Option(envvar="DUOGEN_SEED", min=0, help="The same seed gives the same result.")]
_STEPS = "Denoising steps of every picture; the model's own without it."
Steps = Annotated[int | None, typer.Option(envvar="DUOGEN_STEPS", min=1, max=1000, help=_STEPS)]
MeasuredSteps = Annotated[int | None, typer.Option(min=1, max=1000, help=_STEPS)]
"""Of commands that measure, which no variable should change."""
Guidance = Annotated[
    float | None, typer.Option(envvar="DUOGEN_GUIDANCE", min=1, max=30, help="Guidance scale; 1 switches it off.")
]
GuidanceInterval = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Noise levels, 0 to 1, between which guidance is applied; all without it."),
]
StepCache = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Skip steps whose velocity changes by less than this; 0.1 is little, 0 skips none."
    ),
]
Width = Annotated[int | None, typer.Option(envvar="DUOGEN_WIDTH", min=16, max=4096, help="Picture width in pixels.")]
Height = Annotated[int | None, typer.Option(envvar="DUOGEN_HEIGHT", min=16, max=4096, help="Picture height in pixels.")]
Model = Annotated[
    Path | None,
    typer.Option("--model", "-m", envvar="DUOGEN_MODEL", help="A model folder; without it, the default model."),
]
Device = Annotated[str | None, typer.Option(envvar="DUOGEN_DEVICE", help="cpu, cuda, cuda:1, ...")]
Backend = Annotated[
    str,
    typer.Option(envvar="DUOGEN_BACKEND", help="torch; or onnx: exported when it is first used, needs the extra onnx."),
]
Memory = Annotated[
    str,
    typer.Option(
        envvar="DUOGEN_MEMORY",
        help="How weights are kept: float32, bfloat16, float16; int8, fp8, nf4 (extra quant; with onnx, int8 is for the language model); "
        "offload-model, offload-layer; tiling. With commas between.",
    ),
]  # fmt: skip
PlannerName = Annotated[
    str,
    typer.Option(
        "--planner", envvar="DUOGEN_PLANNER",
        help="Who writes: native, the model itself; chat, any OpenAI-compatible model with tool calling; vllm, the model in vLLM.",
    ),
]  # fmt: skip
PlannerUrl = Annotated[
    str | None, typer.Option(envvar="DUOGEN_PLANNER_URL", help="The server that the planner chat or vllm asks.")
]
PlannerModel = Annotated[
    str | None, typer.Option(envvar="DUOGEN_PLANNER_MODEL", help="The name of the planner's model on that server.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Review = Annotated[
    bool,
    typer.Option(
        "--review", help="Ask before and after each picture: accept, paint again, edit, insert, delete, stop."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print where the result is, and nothing else.")]


def plan(
    request: Annotated[str | None, typer.Argument(help="What to plan; - reads it from standard input.")] = None,
    image: Images = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new folder for the plan.")] = None,
    continue_: Annotated[
        Path | None,
        typer.Option("--continue", "-c", help="Finish an interrupted plan, or follow up on a finished one."),
    ] = None,
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    guidance_interval: GuidanceInterval = None,
    step_cache: StepCache = 0.0,
    width: Width = None,
    height: Height = None,
    max_pictures: Annotated[int, typer.Option(min=0, max=64, help="The answer ends after so many pictures.")] = 16,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="The answer ends after so many seconds, with what there is.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The answer ends after so many tokens of text, with what there is.")
    ] = None,
    review: Review = False,
    self_check: Annotated[
        int,
        typer.Option(
            min=0, max=16, help="Let the model look at its pictures: paint a wrong one again, so often at most."
        ),
    ] = 0,
    temperature: Annotated[float, typer.Option(min=0, max=5, help="0 always writes the most likely word.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1, help="Nucleus sampling, for temperatures above 0.")] = 1.0,
    planner: PlannerName = "native",
    planner_url: PlannerUrl = None,
    planner_model: PlannerModel = None,
    model: Model = None,
    device: Device = None,
    backend: Backend = "torch",
    memory: Memory = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Answer a request with text and pictures, step by step.

    Leaves a folder with plan.json, plan.md, plan.html and the pictures.
    """
    from duogen.document import Picture

    request = _read_request(request)
    if continue_ is None and request is None:
        raise InputError("say what to plan, for example: duogen plan 'How do I build a small house with a red roof?'")
    if continue_ is not None and output is not None:
        raise InputError("a continued plan stays in its folder: leave out either --continue or --output")
    pictures = [Picture.from_file(path) for path in image or []]
    if continue_ is None and not (request or "").strip() and not pictures:
        raise InputError("the request is empty: say what to plan or draw")
    folder = continue_ or output or _free_folder(request or "plan")

    from duogen.agent.asking import ask
    from duogen.agent.review import Decision
    from duogen.agent.runs import RunFolder
    from duogen.agent.teller import Teller
    from duogen.models.session import DecodeSettings

    unfinished = continue_ is not None and RunFolder(folder).unfinished is not None
    if continue_ is None and not RunFolder(folder).free:
        raise InputError(f"{folder}: exists already and isn't an empty folder; choose another with -o")
    settings = painting(seed, steps, guidance, guidance_interval, step_cache, width, height)
    agent = _load(model, device, backend, memory, (planner, planner_url, planner_model))
    told = Teller(folder, silent=as_json or quiet)
    common: dict[str, Any] = {
        "on_event": told,
        # Whoever goes on without a review agrees with what waits for one.
        "review": ask if review else (lambda _: Decision()) if unfinished else None,
        "settings": settings,
        "decode": DecodeSettings(temperature=temperature, top_p=top_p, seed=seed),
        "max_pictures": max_pictures,
        "max_seconds": max_seconds,
        "max_tokens": max_tokens,
        "self_check": self_check,
    }
    if continue_ is not None:
        made = agent.resume(folder, request, pictures, **common)
    else:
        made = agent.plan(request or "", pictures, folder=folder, **common)
    if as_json:
        answer = {"run": made.run, "folder": str(folder), "reason": made.reason, "trace": list(made.trace)}
        print(json.dumps(answer | made.document.model_dump(), ensure_ascii=False))
    elif quiet:
        print(folder)
    else:
        print(f"{folder}/plan.html", file=sys.stderr)


def draw(
    instruction: Annotated[str, typer.Argument(help="What the picture should show; - reads it from standard input.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG file to write.")] = Path("drawing.png"),
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    guidance_interval: GuidanceInterval = None,
    step_cache: StepCache = 0.0,
    width: Width = None,
    height: Height = None,
    model: Model = None,
    device: Device = None,
    backend: Backend = "torch",
    memory: Memory = "",
    quiet: Quiet = False,
) -> None:
    """Draw one picture from text, without a plan around it."""
    settings = partial(painting, seed, steps, guidance, guidance_interval, step_cache, width, height)
    _paint(instruction, [], output, settings, model, device, backend, memory, quiet)


def edit(
    instruction: Annotated[str, typer.Argument(help="What to change; - reads it from standard input.")],
    image: Annotated[list[Path], typer.Option("--image", "-i", help="The picture to edit; more are references.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG file to write.")] = Path("edited.png"),
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    guidance_interval: GuidanceInterval = None,
    step_cache: StepCache = 0.0,
    width: Width = None,
    height: Height = None,
    model: Model = None,
    device: Device = None,
    backend: Backend = "torch",
    memory: Memory = "",
    quiet: Quiet = False,
) -> None:
    """Edit a given picture, without a plan around it."""
    settings = partial(painting, seed, steps, guidance, guidance_interval, step_cache, width, height)
    _paint(instruction, image, output, settings, model, device, backend, memory, quiet)


def _paint(
    instruction: str,
    images: list[Path],
    output: Path,
    settings: Callable[[], Any],
    model: Path | None,
    device: str | None,
    backend: str,
    memory: str,
    quiet: bool,
) -> None:
    from duogen.document import Picture, write_atomically

    instruction = _read_request(instruction) or ""
    if not instruction.strip():
        raise InputError("the instruction is empty: say what the picture should show")
    pictures = [Picture.from_file(path) for path in images]
    if output.exists():
        raise InputError(f"{output}: exists already; choose another file with -o")
    painting = settings()
    agent = _load(model, device, backend, memory, ("native", None, None))

    from duogen.agent.events import DenoisingStep
    from duogen.agent.teller import Teller

    told = Teller(output.parent, silent=quiet)
    drawn = agent.edit(instruction, pictures, painting, on_step=lambda step, of: told(DenoisingStep(1, step, of)))
    write_atomically(output, drawn.picture.data)
    told.show(drawn.picture)
    print(output)


def painting(
    seed: int,
    steps: int | None,
    guidance: float | None,
    guidance_interval: tuple[float, float] | None,
    step_cache: float,
    width: int | None,
    height: int | None,
) -> Any:
    from pydantic import ValidationError

    from duogen.models.sampler import PaintSettings

    try:
        return PaintSettings(
            steps=steps, guidance=guidance, guidance_interval=guidance_interval or (0.0, 1.0), step_cache=step_cache,
            width=width, height=height, seed=seed,
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise InputError(f"--{option} {first['msg'].removeprefix('Value error, ')}") from error


def _load(
    model: Path | None, device: str | None, backend: str, memory: str, planner: tuple[str, str | None, str | None]
) -> Any:
    from duogen.loading import load, planner_named

    return load(model, device, backend, planner_named(*planner), memory)  # type: ignore[arg-type]


def _read_request(request: str | None) -> str | None:
    if request != "-":
        return request
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InputError(f"standard input: not UTF-8 text ({error.reason})") from error


def must_be_new(folder: Path) -> None:
    """Raises `InputError` where something is there that would be overwritten."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already and isn't an empty folder; choose another with -o")


def slug(text: str) -> str:
    """A text as a file's name: lower case, hyphens, not long; it may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-")


def _free_folder(request: str) -> Path:
    name = slug(request) or "plan"
    base, number = Path("plans") / name, 1
    folder = base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{name}-{number}")
    return folder
