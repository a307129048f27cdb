"""Stage 1 on packs: next-token prediction by the MLLM (paper, section 4).

The assistant's words, its `<BOV>` tokens and the ends of its turns are in the loss; users' turns are not.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from duogen.errors import not_installed
from duogen.models.processor import BOV, DuoGenProcessor
from duogen.models.upstream import Model, language_inputs, see
from duogen.training.tuning.config import Stage1Config
from duogen.training.tuning.packs import Pack

LORA_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class Speaker(nn.Module):
    """The MLLM with its loss.

    Args:
        always_sees: shows the vision encoder an empty picture where a pack has none. Processes that share weights must
            all run the same layers.
    """

    def __init__(self, model: Model, processor: DuoGenProcessor, always_sees: bool = False) -> None:
        super().__init__()
        self.model: Any = model
        self.bov = processor.id(BOV)
        blank = Image.new("RGB", (56, 56), "white")
        self.blank = processor.pixels([blank]) if always_sees else None

    def forward(self, pack: Pack) -> tuple[Tensor, dict[str, Tensor]]:
        """The cross-entropy of all trained tokens, added up, and counts: of `tokens`, of those whose most likely token is `right`, and of
        `<BOV>` where it is wanted, where it is most likely, and where both are true."""
        model, device = self.model, next(self.model.parameters()).device
        pixels, grids = (None if part is None else part.to(device) for part in (pack.pixels, pack.grids))
        inputs = language_inputs(
            model, pack.ids.to(device), pack.positions.to(device), pixels, grids, pack.order.to(device)
        )
        if pack.pixels is None and self.blank is not None:
            seen = see(model, *(part.to(device) for part in self.blank))
            nothing = sum((each.sum() for each in seen.deep), seen.embeddings.sum()) * 0
            inputs["inputs_embeds"] = inputs["inputs_embeds"] + nothing
        states = model.model.language_model(**inputs, attention_mask=None, use_cache=False).last_hidden_state
        wanted = pack.trained[0, 1:].to(device) & (pack.order[0, 1:].to(device) > 0)
        targets = pack.ids[0, 1:].to(device)[wanted]
        logits = model.lm_head(states[0, :-1][wanted]).float()
        likeliest = logits.argmax(-1)
        asked, given_bov = targets == self.bov, likeliest == self.bov
        counts = {
            "tokens": torch.tensor(len(targets)), "right": (likeliest == targets).sum(), "bov_wanted": asked.sum(),
            "bov_said": given_bov.sum(), "bov_right": (asked & given_bov).sum(),
        }  # fmt: skip
        return F.cross_entropy(logits, targets, reduction="sum"), {
            name: count.detach() for name, count in counts.items()
        }


def emission_f1(counts: dict[str, float]) -> float:
    """How well `<BOV>` is foretold: 1.0 where it is most likely exactly where it stands."""
    both = counts["bov_wanted"] + counts["bov_said"]
    return 2 * counts["bov_right"] / both if both else 1.0


def free(model: Any, config: Stage1Config, processor: DuoGenProcessor) -> tuple[list[dict[str, Any]], Any]:
    """Lets the chosen parts of an MLLM move.

    With LoRA the language model's matrices get adapters, and `<BOV>` alone of all tokens its own rows.

    Returns:
        Parameter groups with learning rates, and the PEFT model that knows the adapters, if there are any.
    """
    language = config.language_learning_rate if config.language_learning_rate is not None else config.learning_rate
    merger = config.merger_learning_rate if config.merger_learning_rate is not None else config.learning_rate
    rates = {"vision": config.vision_learning_rate, "merger": merger, "language": language}
    model.requires_grad_(False)
    peft = None
    if config.lora_rank and language:
        peft = _adapted(model, config, processor)
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
    for name, weight in model.named_parameters():
        part = _part_of(name)
        if peft is not None and part == "language":
            if not weight.requires_grad:
                continue
        else:
            weight.requires_grad_(rates[part] > 0)
        if weight.requires_grad:
            groups[part].append(weight)
    made = [
        {"params": weights, "lr": rates[part], "weight_decay": config.weight_decay}
        for part, weights in groups.items()
        if weights
    ]
    return made, peft


def _part_of(name: str) -> str:
    if "merger" in name or "multi_modal_projector" in name or "image_newline" in name:
        return "merger"
    return "vision" if "visual." in name or "vision_tower." in name else "language"


def _adapted(model: Any, config: Stage1Config, processor: DuoGenProcessor) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise not_installed("peft", "train") from error
    token = processor.id(BOV)
    rows = {"embed_tokens": [token]}
    if model.get_input_embeddings().weight is not model.get_output_embeddings().weight:
        rows["lm_head"] = [token]
    lora = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha or 2 * config.lora_rank, target_modules=LORA_TARGETS,
        trainable_token_indices=rows,
    )  # fmt: skip
    return get_peft_model(model, lora)
