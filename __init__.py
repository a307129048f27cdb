"""DuoGen: interleaved text-and-picture generation.

import duogen
plan = duogen.load().plan("How do I build a small house with a red roof?")
plan.save("out/")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duogen.agent.agent import Agent
    from duogen.agent.plan import Plan, PlanRequest
    from duogen.document import Document, Picture
    from duogen.errors import DuoGenError, InputError
    from duogen.loading import load
    from duogen.models.connector import Connector
    from duogen.models.pipeline import DuoGenPipeline
    from duogen.models.processor import DuoGenProcessor
    from duogen.models.vae import PatchCodec

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "Connector",
    "Document",
    "DuoGenError",
    "DuoGenPipeline",
    "DuoGenProcessor",
    "InputError",
    "PatchCodec",
    "Picture",
    "Plan",
    "PlanRequest",
    "load",
]

# Imported when first used: `duogen --help` must not wait for torch.
_HOMES = {
    "Agent": "duogen.agent.agent",
    "Connector": "duogen.models.connector",
    "Document": "duogen.document",
    "DuoGenError": "duogen.errors",
    "DuoGenPipeline": "duogen.models.pipeline",
    "DuoGenProcessor": "duogen.models.processor",
    "InputError": "duogen.errors",
    "PatchCodec": "duogen.models.vae",
    "Picture": "duogen.document",
    "Plan": "duogen.agent.plan",
    "PlanRequest": "duogen.agent.plan",
    "load": "duogen.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'duogen' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
