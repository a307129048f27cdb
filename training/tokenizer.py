"""Trains the default model's tokenizer: Qwen's own byte-level BPE, only with a small vocabulary.

Byte-level means that any text can be read; common words of the world become single tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from duogen.models.processor import SPECIAL_TOKENS, DuoGenProcessor


def train_processor(texts: Iterable[str], vocab_size: int, patch_size: int, max_pixels: int) -> DuoGenProcessor:
    """A processor whose tokenizer was trained on `texts` and whose image processor cuts `patch_size` patches."""
    empty = Qwen2Tokenizer()
    alphabet = sorted(ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    empty.backend_tokenizer.train_from_iterator(texts, trainer)
    trained = json.loads(empty.backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in trained["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=trained["vocab"], merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    images = Qwen2VLImageProcessorPil(
        patch_size=patch_size, merge_size=2, size={"shortest_edge": (2 * patch_size) ** 2, "longest_edge": max_pixels}
    )
    return DuoGenProcessor(images, tokenizer)
