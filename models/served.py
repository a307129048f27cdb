"""The MLLM of a pipeline as a plain Qwen2.5-VL folder, for vLLM and for transformers' own server."""

from __future__ import annotations

import json
from pathlib import Path

from duogen.document import write_atomically
from duogen.errors import DuoGenError
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END, IM_START, IMAGE_PAD, VISION_END, VISION_START
from duogen.models.processor_llava import LlavaProcessor

TEMPLATE = (
    "{%- for message in messages -%}{{- '" + IM_START + "' + message.role + '\\n' -}}"
    "{%- if message.content is string -%}{{- message.content -}}{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'text' -%}{{- part.text -}}{%- else -%}"
    "{{- ('" + BOV + "' if message.role == 'assistant' else '') + '" + VISION_START + IMAGE_PAD + VISION_END + "' -}}"
    "{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{%- if not (loop.last and message.role == 'assistant') -%}{{- '" + IM_END + "\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if messages[-1].role != 'assistant' -%}{{- '" + IM_START + "assistant\\n' -}}{%- endif -%}"
)  # fmt: skip
"""A chat template that lays dialogues out as `duogen.models.layout` does; a last turn of the assistant's stays open."""


def save_served(pipeline: DuoGenPipeline, folder: Path) -> Path:
    """Writes the weights, the configuration and the tokenizer into one folder; returns it.

    Raises:
        DuoGenError: the language model isn't a Qwen-VL.
    """
    if isinstance(pipeline.processor, LlavaProcessor):
        raise DuoGenError("only a Qwen-VL can be written for other servers")
    pipeline.mllm.save_pretrained(folder)
    pipeline.processor.save_pretrained(folder)
    path = folder / "processor_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    images = {name: value for name, value in config["image_processor"].items() if name != "image_processor_type"}
    write_atomically(path, json.dumps(config | {"video_processor": images | _video(pipeline)}, indent=2).encode())
    write_atomically(folder / "chat_template.jinja", TEMPLATE.encode())
    return folder


def _video(pipeline: DuoGenPipeline) -> dict[str, str]:
    """vLLM asks every Qwen-VL folder for a video processor, even where no video is allowed."""
    third = type(pipeline.mllm).__name__.startswith("Qwen3")
    return {"video_processor_type": "Qwen3VLVideoProcessor" if third else "Qwen2VLVideoProcessor"}
