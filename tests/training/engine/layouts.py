"""Twenty layouts of how-to pages, as sites have them: from content to HTML."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Step:
    text: str
    alt: str
    picture: bytes
    name: str = ""


@dataclass
class Content:
    number: int
    title: str
    intro: str
    steps: list[Step]
    asides: list[str] = field(default_factory=list)
    """HTML of planted pictures, one after each step, as far as they go."""
    injected: list[str] = field(default_factory=list)


def _img(step: Step, more: str = "") -> str:
    return f'<img src="{step.name}" alt="{step.alt}"{more}>'


def _plain(c: Content) -> str:
    return "<article>" + _head(c) + "".join(f"<p>{s.text}</p>\n<p>{_img(s)}</p>{a}" for s, a in _rows(c)) + "</article>"


def _figures(c: Content) -> str:
    rows = "".join(
        f'<p>{s.text}</p><figure><img src="{s.name}"><figcaption>{s.alt}</figcaption></figure>{a}' for s, a in _rows(c)
    )
    return f"<main>{_head(c)}{rows}</main>"


def _list(c: Content) -> str:
    return (
        f"<article>{_head(c)}<ol>"
        + "".join(f"<li>{s.text}<br>{_img(s)}</li>" for s in c.steps)
        + "</ol>"
        + "".join(c.asides)
        + "</article>"
    )


def _table(c: Content) -> str:
    rows = "".join(f"<tr><td>{s.text}</td><td>{_img(s)}</td></tr>" for s in c.steps)
    return f"<div class='content'>{_head(c)}<table>{rows}</table>{''.join(c.asides)}<p>{c.intro}</p></div>"


def _sections(c: Content) -> str:
    rows = "".join(
        f"<section><h2>Step {n}</h2><p>{s.text}</p><div class='pic'>{_img(s)}</div>{a}</section>"
        for n, (s, a) in enumerate(_rows(c), 1)
    )
    return f"<article>{_head(c)}{rows}</article>"


def _wordpress(c: Content) -> str:
    rows = "".join(
        f'<p>{s.text}</p><div class="wp-caption aligncenter"><a href="/wp-content/{s.name}">{_img(s, " width=640 height=480")}</a>'
        f'<p class="wp-caption-text">{s.alt}</p></div>{a}'
        for s, a in _rows(c)
    )
    return f'<div id="primary"><article class="post hentry"><h1 class="entry-title">{c.title}</h1><div class="entry-content"><p>{c.intro}</p>{rows}</div></article></div>'


def _blogger(c: Content) -> str:
    rows = "".join(
        f'<div>{s.text}</div><br><div class="separator" style="clear: both"><a href="{s.name}">{_img(s)}</a></div><br>{a}'
        for s, a in _rows(c)
    )
    return f'<div class="post"><h3 class="post-title">{c.title}</h3><div class="post-body entry-content"><div>{c.intro}</div>{rows}</div></div>'


def _lazy(c: Content) -> str:
    rows = "".join(
        f'<p>{s.text}</p><p><img class="lazyload" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" data-src="{s.name}" alt="{s.alt}">'
        f'<noscript><img src="{s.name}"></noscript></p>{a}'
        for s, a in _rows(c)
    )
    return f"<article>{_head(c)}{rows}</article>"


def _sources(c: Content) -> str:
    rows = "".join(
        f'<p>{s.text}</p><picture><source srcset="small.webp 300w"><img srcset="{s.name} 800w, small.jpg 300w" alt="{s.alt}"></picture>{a}'
        for s, a in _rows(c)
    )
    return f"<main>{_head(c)}{rows}</main>"


def _stepped(c: Content) -> str:
    rows = "".join(
        f'<li id="step-{n}"><div class="image">{_img(s)}</div><div class="step_num">{n}</div><div class="step"><b>{s.text}</b></div>{a}</li>'
        for n, (s, a) in enumerate(_rows(c), 1)
    )
    return f'<div id="bodycontents">{_head(c)}<ol class="steps_list_2">{rows}</ol></div>'


def _docs(c: Content) -> str:
    rows = "".join(
        f'<section id="s{n}"><h2>Part {n}<a class="headerlink" href="#s{n}">¶</a></h2><p>{s.text}</p>{_img(s, " class=align-center")}{a}</section>'
        for n, (s, a) in enumerate(_rows(c), 1)
    )
    return f'<div class="document"><div class="body" role="main"><h1>{c.title}<a class="headerlink" href="#">¶</a></h1><p>{c.intro}</p>{rows}</div></div>'


def _wiki(c: Content) -> str:
    rows = "".join(
        f'<p>{s.text}</p><div class="thumb tright"><div class="thumbinner"><a class="image" href="/File:{s.name}">{_img(s)}</a>'
        f'<div class="thumbcaption">{s.alt}</div></div></div>{a}'
        for s, a in _rows(c)
    )
    return f'<div id="content"><h1 id="firstHeading">{c.title}</h1><div id="mw-content-text"><p>{c.intro}</p>{rows}</div></div>'


def _divs(c: Content) -> str:
    rows = "".join(
        f'<div class="k3"><p class="x9">{s.text}</p><figure class="q1"><div>{_img(s)}</div></figure></div>{a}'
        for s, a in _rows(c)
    )
    return f'<div class="a1"><div class="b2">{_head(c)}{rows}</div></div>'


def _card(c: Content) -> str:
    rows = "".join(
        f'<div class="instruction"><h3>{n}. {s.alt}</h3><p>{s.text}</p>{_img(s)}</div>{a}'
        for n, (s, a) in enumerate(_rows(c), 1)
    )
    return f'<article itemscope itemtype="https://schema.org/HowTo">{_head(c)}<div class="instructions">{rows}</div></article>'


def _markdown(c: Content) -> str:
    return _head(c) + "".join(f"<p>{s.text}</p>\n<p>{_img(s)}</p>\n{a}" for s, a in _rows(c))


def _gallery(c: Content) -> str:
    """All pictures at the end, in another order."""
    order = list(c.steps)
    random.Random(c.number).shuffle(order)
    text = "".join(f"<p>{s.text}</p>" for s in c.steps)
    return (
        f"<article>{_head(c)}{text}<h2>Pictures</h2>"
        + "".join(f"<p>{_img(s)}</p>" for s in order)
        + "".join(c.asides)
        + "</article>"
    )


def _before(c: Content) -> str:
    """Each picture before its text; the third has no words of its own."""
    rows = ""
    for number, (s, a) in enumerate(_rows(c)):
        rows += (f'<p><img src="{s.name}"></p>' if number == 2 else f"<p>{_img(s)}</p>") + f"<p>{s.text}</p>{a}"
    return f"<article><h1>{c.title}</h1><p>{c.intro}</p>{rows}</article>"


def _broken(c: Content) -> str:
    rows = "".join(f"<p>{s.text}<p><b><i>{_img(s)}</b></i><div>{a}</p></span>" for s, a in _rows(c))
    return f"<article>{_head(c)}{rows}</td></article></table><p"


def _old(c: Content) -> str:
    rows = "".join(
        f"<TR><TD><FONT SIZE=2>{s.text}</FONT><P><CENTER>{_img(s)}</CENTER>{a}</TD></TR>" for s, a in _rows(c)
    )
    return f"<CENTER><H1>{c.title}</H1></CENTER><FONT FACE=Arial>{c.intro}</FONT><P><TABLE BORDER=0 WIDTH=600>{rows}</TABLE>"


def _named(c: Content) -> str:
    """No words on any picture but its file's name, which has the number of the step; pictures come two steps late."""
    parts = [f"<p>Step {n}: {s.text}</p>" for n, s in enumerate(c.steps, 1)]
    pictures = [f'<p><img src="{s.name}"></p>' for s in c.steps]
    parts = [*parts, *pictures]
    return f"<article>{_head(c)}{''.join(parts)}{''.join(c.asides)}</article>"


LAYOUTS: list[Callable[[Content], str]] = [
    _plain, _figures, _list, _table, _sections, _wordpress, _blogger, _lazy, _sources, _stepped, _docs, _wiki, _divs, _card, _markdown, _gallery,
    _before, _broken, _old, _named,
]  # fmt: skip
SHUFFLED = {_gallery, _before, _named}


def _head(c: Content) -> str:
    return f"<h1>{c.title}</h1><p>{c.intro}</p>"


def _rows(c: Content) -> list[tuple[Step, str]]:
    asides = [*c.asides, *[""] * len(c.steps)][: len(c.steps)]
    if len(c.asides) > len(c.steps):
        asides[-1] += "".join(c.asides[len(c.steps) :])
    return list(zip(c.steps, asides, strict=True))
