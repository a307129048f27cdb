"""One HTML page with every answer beside the truth, so that failures can be looked at."""

from __future__ import annotations

import html
from collections.abc import Sequence

from PIL import Image

from duogen.evaluation.markup import img, whole_page
from duogen.evaluation.scores import Stride, Tally, walk
from duogen.evaluation.world import Answered, turns_scored
from duogen.training.data import FAMILIES
from duogen.training.world.render import render

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1.25rem; }
section { border-top: 1px solid #8886; padding: 1rem 0; }
h2 { font-size: 1rem; margin: 0 0 .5rem; } h2 small { font-weight: 400; color: #8a8a8a; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 11rem; } figure.pair { width: 22.5rem; }
img { width: 10.9rem; height: auto; border-radius: 6px; } figcaption { white-space: pre-wrap; font-size: .8rem; }
.right { border-left: 4px solid #56ac5c; padding-left: .5rem; } .wrong { border-left: 4px solid #de423c; padding-left: .5rem; }
label { margin-right: 1.5rem; } body:has(#failures:checked) section.good { display: none; }
""".strip()


def page(answers: Sequence[Answered], table: str) -> str:
    """Requests, answers and verdicts; the true picture stands beside each wrong one.

    Args:
        table: the report's table, shown on top as it is.
    """
    sections = [_section(number, answered) for number, answered in enumerate(answers, 1)]
    top = (
        f"<h1>duogen eval world</h1>\n<pre>{html.escape(table)}</pre>\n"
        '<p><label><input type="checkbox" id="failures"> failures alone</label></p>\n'
    )
    return whole_page("duogen eval world", _STYLE, top + "\n".join(sections))


def _section(number: int, answered: Answered) -> str:
    task, body, good = answered.task, [], True
    for turn, before, tally, steps in turns_scored(answered):
        said, fine = _verdict(tally)
        strides = walk(FAMILIES[task.family], turn, before, steps)
        good &= fine and all(stride.right for stride in strides if stride.step.pictured)
        body.append(f"<h2>{html.escape(turn.request)} <small>{said}</small></h2>")
        shown = [_figure("", render(scene)) for scene in task.shown] if turn is task.turns[0] else []
        body.append(f'<div class="row">{"".join([*shown, *map(_step, strides)])}</div>')
        if not turn.pictures:
            body.append(f"<p>right: {html.escape(' '.join(turn.segments))}</p>")
    heading = f"<p>{number}. {task.family}: {task.kind}</p>"
    classes = ' class="good"' if good else ""
    return f"<section{classes}>\n{heading}\n" + "\n".join(body) + "\n</section>"


def _verdict(tally: Tally) -> tuple[str, bool]:
    """In words, and whether nothing was wrong that is said in words."""
    verdicts = {"plan legal, goal reached": tally.plans, "answer exact": tally.answers}
    said = [f"{name}: {'yes' if values[0] else 'no'}" for name, values in verdicts.items() if values]
    return ", ".join(said), all(all(values) for values in verdicts.values())


def _step(stride: Stride) -> str:
    step = stride.step
    if not step.pictured or step.picture is None:
        return f"<figure><figcaption>{html.escape(step.text)}</figcaption></figure>"
    if stride.right:
        return _figure(step.text, step.picture.image(), kind="right")
    truth = [] if stride.after is None else [render(stride.after)]
    note = "" if truth else "\n(not a legal step, or after one)"
    return _figure(step.text + note, step.picture.image(), *truth, kind="wrong")


def _figure(caption: str, *images: Image.Image, kind: str = "") -> str:
    shown = " ".join(map(img, images))
    classes = " ".join([kind] * bool(kind) + ["pair"] * (len(images) > 1))
    return f'<figure class="{classes}">{shown}<figcaption>{html.escape(caption)}</figcaption></figure>'
