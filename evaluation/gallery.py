"""Pictures for documents: one answer of each family, as it comes, and the first failure of each beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from duogen.agent.agent import Agent
from duogen.document import Picture, TextPart, write_atomically
from duogen.evaluation.scores import walk
from duogen.evaluation.world import Answered, answer, tasks_of, turns_scored
from duogen.models.sampler import PaintSettings
from duogen.training.data import FAMILIES
from duogen.training.world.render import render

GAP, HIGHEST = 8, 128


def strip(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures side by side, on white."""
    small = [
        image.resize((HIGHEST * image.width // image.height, HIGHEST), Image.Resampling.LANCZOS) for image in images
    ]
    whole = Image.new("RGB", (sum(image.width + GAP for image in small) - GAP, HIGHEST), "white")
    left = 0
    for image in small:
        whole.paste(image, (left, 0))
        left += image.width + GAP
    return whole


def show_families(agent: Agent, families: Sequence[str], folder: Path, seed: int) -> str:
    """Answers the first held-out request of each family and writes its pictures to ``FAMILY.png``; returns Markdown.

    Nothing is chosen: it is the first request that `duogen eval world` puts, with the first seed.
    """
    sections = []
    for family in families:
        (task,) = tasks_of("held-out", [family], 1, seed)
        document = answer(agent, task, PaintSettings(seed=seed)).document
        assert document is not None
        lines = [f"**{family}**"]
        for message in document.messages:
            said = " / ".join(part.text.strip() for part in message.content if isinstance(part, TextPart))
            if said:
                lines.append(f"> {said}" if message.role == "user" else said.replace("\n", " "))
        images = [document.picture(part).image() for part in document.images]
        if images:
            path = folder / f"{family}.png"
            _save(strip(images), path)
            lines.insert(1, f"![{family}: {len(images)} picture{'s' * (len(images) > 1)}]({path.as_posix()})")
        sections.append("\n\n".join(lines))
    return "\n\n".join(sections)


def show_failures(answers: Sequence[Answered], folder: Path) -> str:
    """Writes the first wrong picture of each family beside the true one, to ``FAMILY.png``; returns Markdown."""
    sections, done = [], set()
    for answered in answers:
        family = answered.task.family
        if family in done:
            continue
        for turn, before, _, steps in turns_scored(answered):
            if not turn.pictures:
                continue
            for stride in walk(FAMILIES[family], turn, before, steps):
                picture = stride.step.picture
                if family in done or stride.right or picture is None or stride.after is None:
                    continue
                done.add(family)
                path = folder / f"{family}.png"
                _save(strip([picture.image(), render(stride.after)]), path)
                said = stride.step.text.strip() or turn.request
                sections.append(f"**{family}**: {said}\n\n![painted, and what was right]({path.as_posix()})")
    return "\n\n".join(sections)


def _save(image: Image.Image, path: Path) -> None:
    write_atomically(path, Picture.from_image(image).data)
