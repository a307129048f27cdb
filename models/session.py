"""One dialogue in flight: text, pictures, the MLLM's cache, and all that the DiT has read so far.

Nothing is computed twice. The MLLM's KV cache lives from the first token to the last; where a picture is due, the hidden states
that are new since the last one pass through the connector and become the DiT's cross-attention keys and values, once a token;
in ``causal`` mode the keys and values of finished pictures are kept too, so that denoising touches the new picture's tokens
alone. A painted picture's clean latent is the next picture's condition frame; it is never decoded and encoded again.

`duogen.models.strict` does the same work without any of this, and must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import copy_context
from typing import Literal

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from duogen.models.canvas import Canvas
from duogen.models.decoding import Chunk
from duogen.models.dit import KeyValue, appended
from duogen.models.layout import Turn, Unseen, lay_out
from duogen.models.painting import Order, Painted, kept_frames, paint_together
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END
from duogen.models.sampler import OnStep, PaintSettings

Stop = Literal["picture", "end", "length", "repetition"]
Frames = Callable[[], list[KeyValue]]
"""Makes each block's self-attention keys and values of some pictures."""


class DecodeSettings(BaseModel):
    """How text is chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    temperature: float = Field(0.0, ge=0, le=5, description="0 always takes the most likely token")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus: the smallest set of tokens with this probability")
    max_tokens: int = Field(256, ge=1, le=8192, description="longest piece of text between two pictures")
    seed: int = Field(0, ge=0, description="for temperatures above 0")


class Session:
    """A dialogue on a pipeline.

    Args:
        turns: what has been said so far; an assistant's turn at the end stays open and is continued.
        latents: clean latents of pictures in `turns`, by picture number, where they are known; the others are encoded.
        replay: bring an answer that was begun elsewhere to where it was in the very steps that it was written in.
            All at once it is read faster, but by other sums, and what follows could differ from what would have followed.
    """

    @torch.no_grad()
    def __init__(
        self,
        pipeline: DuoGenPipeline,
        turns: Sequence[Turn],
        latents: dict[int, Tensor] | None = None,
        replay: bool = False,
    ) -> None:
        self.pipeline = pipeline
        # Looked up once: diffusers searches all modules for them.
        self.device, self.dtype = pipeline.work_device, pipeline.transformer.dtype
        images = [part for _, parts in turns for part in parts if isinstance(part, Image.Image)]
        answer: Sequence[str | Image.Image | Unseen | None] = ()
        if replay and turns and turns[-1][0] == "assistant":
            turns, answer = [*turns[:-1], ("assistant", ())], turns[-1][1]
        self.tape, self._pixels = lay_out(turns, pipeline.processor, open_end=True)
        self._cache = pipeline.language.new_cache(pipeline.backend.reading(), pipeline.backend.seeing())
        self._fed = 0
        self._fed_pictures = 0
        self._states: list[Tensor] = []  # of tokens that the connector hasn't read yet
        self._context: list[KeyValue] | None = None
        self._frames: list[KeyValue] | None = None
        self._kept = 0
        self._fresh: tuple[Tensor, Frames] | None = None
        self._due: tuple[int, Frames] | None = None
        known = latents or {}

        def encode(images: Sequence[Image.Image]) -> list[Tensor]:
            return [pipeline.encode_picture(image) for image in images]

        encoded = [
            known[index] if index in known else pipeline.batcher.run("encode", encode, image)
            for index, image in enumerate(images)
        ]
        self.latents = encoded[: len(self.tape.slots)]
        self.feed()
        self._replay(answer, encoded[len(self.latents) :])

    def _replay(self, answer: Sequence[str | Image.Image | Unseen | None], latents: Iterable[Tensor]) -> None:
        """Feeds text token by token and picture by picture."""
        rest = iter(latents)
        for part in answer:
            if isinstance(part, str):
                for token in self.pipeline.processor.encode(part):
                    self.tape.add_ids([token])
                    self.feed()
            elif isinstance(part, Image.Image):
                self.ask()
                self.canvas(guided=False)
                self.append(part, next(rest))

    # Text

    @torch.no_grad()
    def feed(self) -> None:
        """Runs the tokens that the MLLM hasn't seen yet."""
        tape = self.tape
        if self._fed == len(tape.ids):
            return
        slots = tape.slots[self._fed_pictures :]
        chunk = Chunk(
            torch.tensor(tape.ids[self._fed :]),
            tape.positions(self._fed),
            self._cache,
            self._pixels if slots else None,
            torch.tensor([slot.grid for slot in slots]) if slots else None,
        )
        self._fed, self._fed_pictures = len(tape.ids), len(tape.slots)
        self._logits, states = self.pipeline.batcher.run("read", self.pipeline.read, chunk)
        self._states.append(states)

    @torch.no_grad()
    def decode(self, settings: DecodeSettings) -> Iterator[str]:
        """Writes text until a picture is due or the answer is complete; yields it piece by piece.

        `stopped` then tells why it ended, and `written` holds its tokens.
        """
        processor = self.pipeline.processor
        bov, end = processor.id(BOV), processor.id(IM_END)
        generator = torch.Generator().manual_seed(settings.seed)
        self.written: list[int] = []
        written, shown, text = self.written, "", ""
        self.stopped: Stop = "length"
        while len(written) < settings.max_tokens:
            token = pick(self._logits.cpu(), settings, generator)
            if token in (bov, end):
                self.stopped = "picture" if token == bov else "end"
                break
            written.append(token)
            self.tape.add_ids([token])
            self.feed()
            text = processor.decode(written)
            # A character of several bytes may still be incomplete.
            if not text.endswith("\ufffd") and len(text) > len(shown):
                yield text[len(shown) :]
                shown = text
            if repeats(written):
                self.stopped = "repetition"
                break
        if len(text) > len(shown):
            yield text[len(shown) :]  # it stays incomplete
        if self.stopped == "picture":
            self.ask()

    def read(self, text: str) -> None:
        """Takes over what somebody else has written."""
        self.tape.add_ids(self.pipeline.processor.encode(text))
        self.feed()

    @property
    def asking(self) -> bool:
        """Whether a picture is due right here."""
        return self.tape.ids[-1] == self.pipeline.processor.id(BOV)

    def ask(self) -> None:
        """Puts a `<BOV>` on the tape: a picture is due here."""
        self.tape.add_ids([self.pipeline.processor.id(BOV)])

    def ask_at_once(self, in_words: bool) -> None:
        """Asks for a single picture, whether or not the model would; with `in_words` it first says what is to be painted."""
        if in_words:
            for _ in self.decode(DecodeSettings()):
                pass
        if not self.asking:
            self.ask()

    def chances(self, answers: Sequence[str]) -> list[float]:
        """How likely each of some answers is as the next thing written, by its first token; they add up to 1."""
        first = [self.pipeline.processor.encode(answer)[0] for answer in answers]
        return torch.softmax(self._logits[first], 0).tolist()

    # Pictures

    @torch.no_grad()
    def paint(self, settings: PaintSettings, on_step: OnStep | None = None) -> Painted:
        """Paints the picture that the last `<BOV>` asks for; `append` puts it into the dialogue.

        Args:
            on_step: what it raises ends the painting, unless other dialogues' pictures are painted in the same go; those are finished
                first.

        Raises:
            InputError: a size that the model can't paint.
        """
        settings = self.pipeline.resolve(settings).behind(len(self.latents))
        assert settings.width and settings.height
        shape = self.pipeline.latent_shape(settings.width, settings.height)
        key = ("paint", shape, settings.model_copy(update={"seed": 0}))
        # Whoever paints, a step is told as from here.
        context = copy_context()

        def told(step: int, steps: int) -> None:
            if on_step is not None:
                context.run(on_step, step, steps)

        ended: list[Exception] = []
        painted = self.pipeline.batcher.run(key, paint_together, Order(self, settings, told, ended), late=True)
        if ended:
            raise ended[0]
        return painted

    def append(self, image: Image.Image, latent: Tensor) -> None:
        """Puts a painted picture behind its `<BOV>`, for the MLLM to see and for later pictures to build on."""
        self._pixels, grids = self.pipeline.processor.pixels([image])
        self.tape.add_picture(grids[0], generated=True)
        if self._fresh is not None and torch.equal(self._fresh[0], latent):
            self._due = (len(self.latents), self._fresh[1])
        self._fresh = None
        self.latents.append(latent)
        self.feed()

    @torch.no_grad()
    def condition(self, length: int) -> list[KeyValue]:
        """Each block's cross-attention keys and values of the first `length` tokens; each is computed once."""
        if self._states:
            self.pipeline.bring("connector", "transformer")
            fresh = self.pipeline.backend.condition(torch.cat(self._states)[None])
            self._context = appended(self._context, fresh)
            self._states.clear()
        assert self._context is not None
        return [(key[:, :, :length], value[:, :, :length]) for key, value in self._context]

    def canvas(self, guided: bool) -> Canvas:
        """What the picture that is due is painted from; where it is guided, with the negative branch behind the other."""
        asked = len(self.tape.ids) - 1
        context, start = self.condition(asked), self.tape.unconditional(asked)
        reach = [asked, start] if guided else [asked]
        mask = self._reading([start] * len(reach), reach, asked)
        causal = self.pipeline.config.attention_mode == "causal"
        return Canvas(len(self.latents), context, mask, self._keep_frames() if causal else None)

    def noted(self, latent: Tensor, frames: Frames) -> None:
        """Takes over how keys and values are made of a picture just painted and of those before; it is used if that one is appended, and
        another is painted behind it."""
        self._fresh = (latent, frames)

    def _reading(self, starts: list[int], ends: list[int], length: int) -> Tensor:
        """Cross-attention's mask [branches, heads or 1, 1, length]."""
        starts_, ends_ = (torch.tensor(indices, device=self.device) for indices in (starts, ends))
        return self.pipeline.painter.reading(starts_, ends_, length).unsqueeze(2)

    def _keep_frames(self) -> list[KeyValue] | None:
        """Self-attention keys and values of all pictures so far; those not read yet are read once, in order."""
        for number in range(self._kept, len(self.latents)):
            if self._due is not None and self._due[0] == number:
                self._frames, self._due = self._due[1](), None
                continue
            latent, slot = self.latents[number], self.tape.slots[number]
            mask = self._reading([slot.start], [slot.asked], slot.asked)
            canvas = Canvas(number, self.condition(slot.asked), mask, self._frames)
            self._frames = kept_frames(self.pipeline, latent, canvas)
        self._kept = len(self.latents)
        return self._frames


def pick(logits: Tensor, settings: DecodeSettings, generator: torch.Generator) -> int:
    """The next token of logits [vocabulary]."""
    if settings.temperature == 0:
        return int(logits.argmax())
    chances, order = torch.softmax(logits / settings.temperature, -1).sort(descending=True)
    # A token stays while those before it hold less than top_p: the most likely one always does.
    chances[chances.cumsum(-1) - chances >= settings.top_p] = 0
    return int(order[torch.multinomial(chances, 1, generator=generator)])


def repeats(written: list[int], times: int = 4, longest: int = 24) -> bool:
    """Whether the text has run into a loop: its end is the same phrase, `times` over."""
    for size in range(1, longest + 1):
        tail = written[-size * times :]
        if len(tail) == size * times and tail == tail[:size] * times:
            return True
    return False
