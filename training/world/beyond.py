"""The family *beyond*: requests that have nothing to do with the world, and the honest answer to them.

A small model that knows a few things must say so when it is asked for others, in words, without drawing. To learn what it
does *not* know from a few thousand words alone it would have to have seen them all; so requests are put together from
phrases of many trades, and one in four names something in words that no language has.

Held out: the real questions in ``beyond.txt``, none of which can be put together here (a test shows it).
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from duogen.training.world.language import Action, Grammar
from duogen.training.world.scene import Scene
from duogen.training.world.task import Family, Task, Turn, vary

ANSWERS = (
    "Sorry, that is beyond me. I am a small model that knows shelves, buildings, recipes and simple drawings. For anything "
    "else, load a larger checkpoint with --model.",
    "I can't help with that: I am a small model, and shelves, buildings, recipes and simple drawings are all I know. A larger "
    "checkpoint, given with --model, can do more.",
)
QUESTIONS = Path(__file__).with_suffix(".txt")

_VERBS = (
    "repair", "clean", "sell", "buy", "grow", "train", "write", "translate", "learn", "install", "calculate", "drive",
    "teach", "cure", "invest in", "program", "record", "photograph", "print", "knit", "sew", "tune", "lift", "measure",
    "negotiate", "rent", "insure", "charge", "tie", "fold", "hang", "wire", "polish", "ride", "throw", "catch", "sing",
    "apply for", "get rid of", "look after", "send", "open", "close", "save", "connect", "paint", "sharpen", "store", "glue",
    "choose", "keep", "protect", "wash", "dry", "iron", "lock", "cancel", "join", "improve", "start", "prove", "sketch",
)  # fmt: skip
_THINGS = (
    "a bicycle", "my laptop", "a guitar", "the piano", "a dog", "my phone", "a washing machine", "the garden", "a letter",
    "a contract", "my kitchen sink", "Spanish", "French", "an essay", "a poem", "a shirt", "a tie", "a tent", "a knot",
    "the lights", "a camera", "a database", "a website", "my knee", "a cold", "a bank account", "shares", "a horse", "a sofa",
    "a carpet", "a novel", "a speech", "algebra", "a marathon", "the engine", "a battery", "a passport", "a visa", "a mattress",
    "roses", "lettuce", "a bonsai", "a goldfish", "a parrot", "the gutter", "a fence", "a kite", "a scarf", "a sweater",
    "a wet coat", "a scratch", "rust", "mould", "the oven door", "a red jacket", "my old printer", "an account", "weeds",
    "a dead tree", "a bird's nest", "wallpaper", "a blocked nose", "sunburn", "ants", "a fridge", "a zip", "oil paint",
    "a business", "a podcast", "the brakes", "an invoice", "a lamp", "a hedge", "my handwriting", "a violin", "olives",
)  # fmt: skip
_NAMES = (
    "Mozart", "Einstein", "Shakespeare", "Napoleon", "Picasso", "Newton", "Darwin", "Cleopatra", "Gandhi", "Curie", "Bach",
    "Plato", "Columbus", "Galileo", "Dante", "Chopin", "Hercules", "Hamlet", "Don Quixote", "Zeus",
)  # fmt: skip
_COUNTRIES = (
    "France", "Brazil", "Japan", "Kenya", "Canada", "Norway", "India", "Peru", "Egypt", "Spain", "Poland", "Chile", "Ghana",
    "Greece", "Turkey", "Vietnam", "Ireland", "Cuba", "Rome", "Berlin", "Sydney", "Toronto",
)  # fmt: skip
_TOPICS = (
    "the weather", "politics", "football", "quantum physics", "the stock market", "history", "evolution", "black holes",
    "inflation", "climate", "volcanoes", "electricity", "the internet", "democracy", "jazz", "chess", "dinosaurs", "the moon",
    "philosophy", "grammar", "chemistry", "taxes", "insurance", "love", "sleep", "exercise", "meditation", "vaccines",
    "gravity", "the French Revolution", "a comet", "the immune system", "an atom", "poetry", "blood", "a pension", "sugar",
)  # fmt: skip
_DRAWN = (
    "a dragon", "a castle in the clouds", "a portrait of {name}", "the skyline of {country}", "a dinosaur", "an elephant",
    "a knight on a horse", "a sunset over the sea", "a map of {country}", "a lion", "a spaceship", "a bowl of sushi",
    "my grandmother", "a violin", "a crowded street", "a wedding", "{odd}", "a {odd}", "a {odd} on a {odd}",
)  # fmt: skip
_DISHES = ("lasagne", "sushi", "a curry", "paella", "jam", "yoghurt", "a roast", "ramen", "dumplings", "{odd}", "a {odd}")  # fmt: skip
_CREATURES = (
    "elephants", "ants", "sharks", "penguins", "owls", "camels", "snakes", "babies", "trees", "magnets", "planes", "engines",
    "clouds", "rivers", "banks", "batteries", "{odd}s", "{odd}s",
)  # fmt: skip
_DOINGS = (
    "fly", "see in the dark", "breathe", "grow so tall", "make noise", "talk to each other", "eat", "move", "survive winter",
    "travel so far", "work", "stay warm", "fall", "build their homes", "change shape", "get so big",
)  # fmt: skip
_TAILS = (
    "in the winter", "at home", "for my sister", "without {odd}", "before the summer", "on a small budget", "in {country}",
    "from a {odd}", "out of a {odd}", "with a {odd}", "in three weeks", "for a {odd}", "after work", "for a party of twenty",
)  # fmt: skip
_ASKED = (
    "How do I {verb} {thing}?", "Can you {verb} {thing}?", "What is the best way to {verb} {thing}?",
    "Show me how to {verb} {thing}.", "I need help to {verb} {thing}.", "Please {verb} {thing} for me.",
    "Who was {name}?", "When did {name} live?", "What did {name} do?", "Tell me about {name}.",
    "What is the capital of {country}?", "How many people live in {country}?", "What language do they speak in {country}?",
    "Plan a trip to {country}.", "What is {topic}?", "Explain {topic} to me.", "Write a story about {topic}.",
    "Why is {topic} important?", "Give me three facts about {topic}.", "What do you think about {topic}?",
    "Is {topic} dangerous?", "Who invented {topic}?", "How does {topic} work?", "Translate '{odd} {odd}' into {odd}.",
    "What is {number} times {number}?", "What is {number} plus {number}?", "What time is it in {country}?",
    "Draw {drawn}.", "A picture of {drawn}.", "Paint {drawn}.", "How do I build a {odd}?", "How do I make {odd} {odd}?",
    "Build {drawn}.", "What is a {odd}?", "Where can I buy {thing}?", "Who is the president of {country}?",
    "Hello, how are you?", "What is your name?", "Tell me a joke.", "Sing a song.", "Are you a robot?", "{odd} {odd}?",
    "My {odd} hurts. What should I do?", "What should I wear in {country}?", "Summarise {odd} by {name}.",
    "Recommend a film about {topic}.", "How old is {name}?", "How far is it from {country} to {country}?",
    "Is it cheaper to {verb} {thing} or to {verb} it?", "What is the meaning of {odd}?", "How much does {thing} cost?",
    "How do I {verb} {thing} {tail}?", "How can I {verb} {thing} {tail}?", "What should I do {tail}?",
    "How do I {shared} {thing}?", "How do I {shared} a {odd} {tail}?", "How do I {shared} the {odd} of my {odd}?",
    "Show me how to {shared} {thing} {tail}.", "Teach me to {verb} {thing}.", "How do {creatures} {doing}?",
    "Why do {creatures} {doing}?", "Can {creatures} {doing}?", "What do {creatures} do {tail}?", "How do I cook {dish} {tail}?",
    "How do I make {dish}?", "How long does {dish} keep?", "What is in {dish}?", "What is the {odd} of {thing}?",
    "What is the difference between {topic} and {topic}?", "Tell me the {odd} of {name} and {name}.",
    "What is the {odd} of the {odd}?", "How many {odd}s are in a {odd}?", "Which {odd} is the best {tail}?",
    "When is the right time to {verb} {thing}?", "Is it all right to {verb} {thing} {tail}?", "Where do {creatures} live?",
    "Should I {verb} {thing} or {verb} {thing}?", "What comes after {number}?", "Who wrote {odd} {odd}?",
    "My {odd} is {odd}. Can I {verb} it?", "Find me a {odd} {tail}.", "Give me a list of {odd}s {tail}.",
    "What are the {odd}s of {topic}?", "Help me with {topic}.", "Write {drawn} {tail}.", "Show me {drawn}.",
)  # fmt: skip
# What requests of the world begin with, too: it is the rest that tells.
_SHARED = (
    "make", "put", "take", "get", "change", "move", "remove", "replace", "swap", "add", "cut", "mix", "build", "draw", "bring",
    "set up", "take apart", "put together",
)  # fmt: skip
_WORDS = {
    "verb": _VERBS, "thing": _THINGS, "name": _NAMES, "country": _COUNTRIES, "topic": _TOPICS, "drawn": _DRAWN,
    "dish": _DISHES, "creatures": _CREATURES, "doing": _DOINGS, "tail": _TAILS, "shared": _SHARED,
}  # fmt: skip
_ONSETS = (
    "b", "br", "c", "d", "dr", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "qu", "r", "s", "st", "t", "tr", "v",
    "w", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "oo", "ou")
_CODAS = ("", "", "n", "r", "l", "m", "ck", "st", "sh", "nd", "x")


def _odd(rng: random.Random) -> str:
    """A word of two or three syllables that no language has."""
    syllables = rng.randint(1, 3)
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables))


def made_up(rng: random.Random) -> str:
    """A request from beyond the world."""
    request = rng.choice(_ASKED)
    while "{" in request:
        before, _, rest = request.partition("{")
        slot, _, after = rest.partition("}")
        if slot == "odd" or (slot in ("thing", "name", "country", "topic") and rng.random() < 0.25):
            word = _odd(rng)
        else:
            word = str(rng.randint(2, 99)) if slot == "number" else rng.choice(_WORDS[slot])
        request = before + word + after
    return request


@cache
def real_questions() -> tuple[str, ...]:
    """The held-out questions: real ones, written by hand."""
    return tuple(QUESTIONS.read_text(encoding="utf-8").split("\n")[:-1])


class Beyond(Family):
    """Requests from beyond the world. See the module's docstring."""

    name = "beyond"
    grammar = Grammar({}, {})

    def apply(self, scene: Scene, act: Action) -> Scene | None:
        """An honest answer has no steps."""
        return None

    def sample(self, rng: random.Random, split: str) -> Task:
        if split == "held-out":
            return rng.choice(self.fixed())
        return _task("made up", vary(made_up(rng), rng), rng)

    def fixed(self) -> list[Task]:
        return [_task("real", question, random.Random(question)) for question in real_questions()]

    def answers(self, turn: Turn, before: Scene, text: str) -> bool:
        """Whether it says that the request is beyond the model, in whichever of the wordings."""
        return " ".join(text.split()) in ANSWERS


def _task(kind: str, request: str, rng: random.Random) -> Task:
    turn = Turn(request, [rng.choice(ANSWERS)], [], lambda final: True)
    return Task("beyond", kind, Scene("page"), (), [turn])
