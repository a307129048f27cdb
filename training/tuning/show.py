"""One pack, as it goes into training, to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duogen.document import write_atomically
from duogen.tools.export import render
from duogen.training.tuning.packs import Pack


def show(stage: Any, number: int, folder: Path) -> str:
    """A pack of a stage in words, and on a page with its pictures.

    Returns:
        For each document its tokens, one a line: place, positions on three axes, whether it is trained on, what it says. Runs of a picture's
        tokens are one line.
    """
    batch = stage.batch(number)
    pack: Pack = batch if isinstance(batch, Pack) else batch.pack
    shown = [] if isinstance(batch, Pack) else batch.shown
    tokenizer = stage.processor.tokenizer
    pad = stage.processor.id(stage.processor.image_token)
    lines, parts = [], []
    for index, placed in enumerate(pack.dialogues):
        lines.append(f"document {index}: tokens {placed.start} to {placed.end - 1}, {len(placed.slots)} pictures")
        tokens: list[dict[str, Any]] = []
        at = placed.start
        while at < placed.end:
            run = at
            while run < placed.end and int(pack.ids[0, run]) == pad:
                run += 1
            count = max(1, run - at)
            time, row, column = (int(axis) for axis in pack.positions[:, 0, at])
            trained = bool(pack.trained[0, at])
            said = tokenizer.decode([int(pack.ids[0, at])]) + (f" x {count}" if count > 1 else "")
            lines.append(f"  {at:6} {time:6} {row:6} {column:6} {'trained' if trained else '-':8} {said!r}")
            tokens.append({"text": said, "trained": trained, "place": at, "position": f"{time} {row} {column}"})
            at += count
        canvases = [
            f"picture {each.time}: {'target, noise level ' + format(each.sigma, '.2f') if each.wanted is not None else 'condition'}, "
            f"reads tokens {each.base} to {each.reach - 1}"
            for each in shown
            if each.dialogue == index
        ]
        lines += [f"  {line}" for line in canvases]
        pictures = [picture.data_url for picture in placed.pictures]
        parts.append({"tokens": tokens, "pictures": pictures, "canvases": canvases})
    write_atomically(folder / "batch.html", render("pack.html.j2", documents=parts, number=number).encode())
    return "\n".join([*lines, str(folder / "batch.html")])
