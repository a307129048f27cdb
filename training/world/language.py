"""Sentence templates that work both ways: a value becomes a sentence, and the sentence becomes the value again.

One list of templates serves the data generator (many wordings for one action) and the evaluation (which action does
this sentence of the model state?), so the two can't drift apart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}

_SLOT = re.compile(r"\{(\w+?)(\d?)\}")
_PREFIX = re.compile(r"^(?:step \d+[:.]|\d+[.)]|first,|then|next,|now|finally,)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Action:
    """What one sentence says: a verb and the values of its slots."""

    verb: str
    values: tuple[tuple[str, Any], ...]

    def __getitem__(self, slot: str) -> Any:
        return dict(self.values)[slot]


def action(verb: str, **values: Any) -> Action:
    """An `Action`, with its slots in a fixed order so that equal actions compare equal."""
    return Action(verb, tuple(sorted(values.items())))


class Grammar:
    """Templates by verb over typed slots.

    Args:
        words: for each slot type, the surfaces of each value, the preferred one first.
        templates: for each verb, sentences with slots in braces; ``{colour2}`` is a second slot of type ``colour``.
        lists: slot types that hold several values of another type, as tuples: "the egg, the milk and the ham".
    """

    def __init__(
        self,
        words: Mapping[str, Mapping[object, Sequence[str]]],
        templates: Mapping[str, Sequence[str]],
        lists: Mapping[str, str] | None = None,
    ) -> None:
        self.words = words
        self.templates = templates
        self.lists = lists or {}
        self._surfaces = {
            slot: {surface.lower(): value for value, surfaces in values.items() for surface in surfaces}
            for slot, values in words.items()
        }
        self._patterns = [
            (verb, re.compile(self._pattern(sentence), re.IGNORECASE))
            for verb, sentences in templates.items()
            for sentence in sentences
        ]

    def _pattern(self, sentence: str) -> str:
        parts, last = [], 0
        for match in _SLOT.finditer(sentence):
            slot, number = match.groups()
            item = self.lists.get(slot, slot)
            option = "|".join(map(re.escape, sorted(self._surfaces[item], key=len, reverse=True)))
            if slot in self.lists:
                option = f"the (?:{option})(?:(?:, | and )the (?:{option}))*"
            before = re.escape(sentence[last : match.start()])
            parts.append(re.sub(r"\b([aA])\\ $", r"\1n?\\ ", before))
            parts.append(f"(?P<{slot}{number}>{option})")
            last = match.end()
        return "^" + "".join(parts) + re.escape(sentence[last:]) + "$"

    def say(self, act: Action, voice: float) -> str:
        """One wording of `act`. A voice words the same verb in the same way, as one person would within one answer."""
        rng = random.Random(f"{voice}/{act.verb}")
        return self.fill(rng.choice(self.templates[act.verb]), None, **dict(act.values))

    def fill(self, sentence: str, rng: random.Random | None, **values: object) -> str:
        """`sentence` with its slots filled, each value in one of its wordings; in the preferred one without `rng`."""

        def surface(match: re.Match[str]) -> str:
            slot, number = match.groups()
            value = values[slot + number]
            if slot in self.lists:
                assert isinstance(value, tuple)
                return join([f"the {self.words[self.lists[slot]][item][0]}" for item in value])
            surfaces = self.words[slot][value]
            return rng.choice(list(surfaces)) if rng else surfaces[0]

        text = _SLOT.sub(surface, sentence)
        return re.sub(r"\b([aA]) (?=[aeiouAEIOU])", r"\1n ", text)

    def read(self, sentence: str) -> Action | None:
        """The action that a sentence states, or None where it states none that this grammar knows."""
        sentence = _PREFIX.sub("", sentence.strip())
        for verb, pattern in self._patterns:
            found = pattern.match(sentence)
            if found:
                return action(verb, **{name: self._value(name, text) for name, text in found.groupdict().items()})
        return None

    def _value(self, name: str, text: str) -> object:
        """What a slot of that name says."""
        slot = name.rstrip("0123456789")
        if slot in self.lists:
            surfaces = self._surfaces[self.lists[slot]]
            return tuple(surfaces[item.removeprefix("the ")] for item in re.split(", | and ", text.lower()))
        return self._surfaces[slot][text.lower()]


def a(phrase: str) -> str:
    """'a red roof', 'an orange roof'."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def sentence(text: str) -> str:
    """'A red roof.' of 'a red roof'."""
    return text[0].upper() + text[1:] + "."


def join(items: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
