"""Prompts: from a taxonomy with seeds to many, varied and without duplicates, with figures on what they cover.

A model thinks of more where there is one; patterns are filled in otherwise. The families of the procedural world are a taxonomy, too.
"""

from __future__ import annotations

import itertools
import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, Field

from duogen.errors import InputError
from duogen.training.engine.answers import Model, NoAnswer
from duogen.training.engine.rewrite import URL
from duogen.training.engine.text import ADDRESSED_TO_MODELS, words_of

TASK = """You think of requests that people would make to an assistant which answers with text and pictures in turn. Given a domain, a subcategory and
some examples, write new ones: different in subject, length and wording, each of which pictures help to answer. Repeat none of the examples."""
SLOT = re.compile(r"\{(\w+)\}")
SAME = 0.75
"""Jaccard similarity of words from which on two prompts are one."""


class Prompts(BaseModel):
    """New requests."""

    prompts: list[str] = Field(min_length=1, max_length=100)


@dataclass(frozen=True)
class Prompt:
    """A request, with where in the taxonomy it stands."""

    text: str
    domain: str
    subcategory: str
    made_by: str = "pattern"


@dataclass
class Taxonomy:
    """Domains, their subcategories, and patterns of prompts; words for the patterns' slots."""

    patterns: dict[tuple[str, str], list[str]]
    slots: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None = None) -> Taxonomy:
        """Reads a TOML file: a table a domain, a list of patterns a subcategory, and a table ``slots``; or the one that comes with this.

        Raises:
            InputError: it can't be read, or a pattern has a slot without words.
        """
        path = path or Path(__file__).with_name("taxonomy.toml")
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a TOML file ({error})") from error
        slots = tables.pop("slots", {})
        patterns: dict[tuple[str, str], list[str]] = {}
        for domain, subcategories in tables.items():
            for subcategory, texts in subcategories.items() if isinstance(subcategories, dict) else ():
                if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                    raise InputError(f"{path}: {domain}.{subcategory} must be a list of prompts")
                for slot in itertools.chain(*map(SLOT.findall, texts)):
                    if not slots.get(slot):
                        raise InputError(
                            f"{path}: {domain}.{subcategory} has a slot {{{slot}}} that [slots] has no words for"
                        )
                patterns[domain, subcategory] = texts
        if not patterns:
            raise InputError(f"{path}: there is no domain with a subcategory in it")
        return cls(patterns, slots)

    @classmethod
    def world(cls) -> Taxonomy:
        """The families of the procedural world that can be asked for in words alone; their requests are drawn, not filled in."""
        from duogen.training.data import PRACTISED

        return cls({("world", family): [] for family in PRACTISED if family not in ("arrange", "look")})

    def drawn(self, place: tuple[str, str], number: int, seed: int) -> str:
        """Prompt number `number` of a subcategory."""
        if place[0] == "world":
            from duogen.training.data import draw_task

            tasks = (draw_task(seed, 40 * number + offset, shares={place[1]: 1.0}) for offset in range(40))
            return next((task.turns[0].request for task in tasks if not task.shown), "")
        draw = random.Random(f"prompt/{seed}/{place}/{number}")
        return SLOT.sub(lambda slot: draw.choice(self.slots[slot[1]]), draw.choice(self.patterns[place]))


def expand(taxonomy: Taxonomy, count: int, seed: int, model: Model | None = None) -> tuple[list[Prompt], list[str]]:
    """So many prompts, spread evenly over the subcategories, no two of them alike; and what went wrong on the way.

    Fewer come where there are no more to be had.
    """
    made: list[Prompt] = []
    known: list[frozenset[str]] = []
    faults: list[str] = []
    places = list(taxonomy.patterns)
    each = -(-count // len(places))
    for place in places:
        own: list[Prompt] = []
        for text, by in _candidates(taxonomy, place, each, seed, model, faults):
            if len(own) == each:
                break
            words = frozenset(words_of(text))
            if len(words) > 2 and not any(_jaccard(words, other) >= SAME for other in known):
                known.append(words)
                own.append(Prompt(text, *place, by))
        made.extend(own)
    # Of each subcategory the first, then of each the second, domains in turn: a shorter list is still spread evenly.
    order: Counter[str] = Counter()
    turn: dict[tuple[str, str], int] = {}
    for place in places:
        turn[place] = order[place[0]]
        order[place[0]] += 1
    ranks: Counter[tuple[str, str]] = Counter()
    ranked = []
    for prompt in made:
        place = prompt.domain, prompt.subcategory
        ranked.append((ranks[place], turn[place], prompt))
        ranks[place] += 1
    return [prompt for _, _, prompt in sorted(ranked, key=lambda each: each[:2])][:count], faults


def _candidates(
    taxonomy: Taxonomy, place: tuple[str, str], count: int, seed: int, model: Model | None, faults: list[str]
) -> Iterator[tuple[str, str]]:
    """Texts, and who made them: the model's, then as many patterns filled in as are asked for."""
    if model is not None:
        examples = [taxonomy.drawn(place, number, seed) for number in range(6)]
        data = {"domain": place[0], "subcategory": place[1], "examples": examples, "how many": count}
        try:
            texts = [" ".join(text.split()) for text in model.ask(TASK, data, Prompts).prompts]
            yield from (
                (text, model.name)
                for text in texts
                if not URL.search(text) and not ADDRESSED_TO_MODELS.search(text) and len(text) < 400
            )
        except NoAnswer as why:
            faults.append(f"{place[0]}, {place[1]}: {why}")
    for number in range(10 * count + 20):
        yield taxonomy.drawn(place, number, seed), "pattern"


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / len(first | second)


def coverage(prompts: list[Prompt], taxonomy: Taxonomy) -> dict[str, object]:
    """How evenly prompts cover a taxonomy: shares of subcategories that have any, prompts of each domain, different words a prompt."""
    used = Counter((prompt.domain, prompt.subcategory) for prompt in prompts)
    words = {word for prompt in prompts for word in words_of(prompt.text)}
    return {
        "prompts": len(prompts), "subcategories": f"{len(used)} of {len(taxonomy.patterns)}",
        "by domain": dict(sorted(Counter(prompt.domain for prompt in prompts).items())),
        "different words a prompt": round(len(words) / max(1, len(prompts)), 2),
        "made by": dict(Counter(prompt.made_by for prompt in prompts)),
    }  # fmt: skip
