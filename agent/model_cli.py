"""`duogen assemble`, `export-onnx`, `export-mllm` and `doctor`: what is done to a model's folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from duogen.agent.cli import AsJson, Device, Memory, Model, must_be_new
from duogen.errors import InputError


def assemble(
    mllm: Annotated[str, typer.Option(help="Qwen2.5-VL, Qwen3-VL or LLaVA-OneVision: a folder or a hub repository.")],
    dit: Annotated[
        str, typer.Option(help="Cosmos-Predict2.5 or Wan in diffusers' form: a folder or a hub repository.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the model.")],
    mllm_revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the MLLM's repository.")] = None,
    dit_revision: Annotated[
        str | None, typer.Option(help="Of the transformer's; Cosmos-Predict2.5's is diffusers/base/post-trained.")
    ] = None,
    vae: Annotated[
        Path | None, typer.Option(help="Another VAE's folder, for a transformer yet to be trained for it.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="The transformer's attention over frames: full, as public ones have it; causal.")
    ] = "full",
    size: Annotated[
        int, typer.Option(min=16, max=4096, help="Pictures are so wide and high unless asked otherwise.")
    ] = 512,
    dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
) -> None:
    """Put a public MLLM and a public transformer together: one model folder, ready for stage 1 and 2.

    Only safetensors are read, and no code that comes with a checkpoint runs.
    """
    from duogen.loading import hush
    from duogen.models.assembling import assemble as put_together
    from duogen.models.assembling import matched
    from duogen.models.keeping import DTYPES
    from duogen.models.pipeline import MODES

    if dtype not in DTYPES:
        raise InputError(f"--dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    if mode not in MODES:
        raise InputError(f"--mode must be one of {', '.join(MODES)}, not {mode!r}")
    hush()
    parts = matched(mllm, dit, mllm_revision, dit_revision, vae)
    put_together(parts, output, DTYPES[dtype], mode, size)
    for note in parts.notes:
        print(note, file=sys.stderr)
    print(output)


def doctor(model: Model = None, memory: Memory = "", device: Device = None, as_json: AsJson = False) -> None:
    """Say what is installed, what will be used, and how much memory the model needs."""
    from duogen.agent.doctor import examine

    report = examine(model, memory, device)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for heading, entries in report.items():
        print(heading)
        for name, value in entries.items():
            print(f"  {name:<22} {value}")


def export_onnx(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A folder; without it, the one that --backend onnx looks into."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="The language model's matrices in 8 bit, for --backend onnx --memory int8.")
    ] = False,
    model: Model = None,
) -> None:
    """Write all networks as ONNX files: language model, vision encoder, connector, denoising step, VAE decoder."""
    from duogen.loading import load, onnx_folder
    from duogen.models.exporting import export

    pipeline = load(model, "cpu").pipeline
    for path in export(pipeline, output or onnx_folder(pipeline, int8), int8):
        print(path)


def export_mllm(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    model: Model = None,
) -> None:
    """Write the language model as a plain Qwen2.5-VL folder, for vLLM's and transformers' own servers."""
    from duogen.loading import load
    from duogen.models.served import save_served

    must_be_new(output)
    print(save_served(load(model, "cpu").pipeline, output))
