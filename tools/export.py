"""How a document leaves: Markdown beside its pictures, and one self-contained HTML page."""

from __future__ import annotations

import html
import re
from pathlib import Path

from duogen.document import Document, ImagePart, Message, write_atomically

_STYLE = """
:root { color-scheme: light dark; }
body { font: 17px/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.3; margin: 0 0 1.5rem; }
.user { border-left: 4px solid #4082d8; padding: .25rem 0 .25rem 1rem; margin: 2.5rem 0 1.5rem; font-weight: 600; }
figure { margin: 1rem 0 2rem; break-inside: avoid; }
img { display: block; width: 100%; max-width: 24rem; height: auto; border-radius: 10px; box-shadow: 0 1px 6px #0003; }
p { margin: .5rem 0; white-space: pre-wrap; }
footer { margin-top: 3rem; color: #8a8a8a; font-size: .8rem; }
""".strip()


def title_of(document: Document) -> str:
    """The first request, on one line."""
    texts = [message.text.strip() for message in document.messages if message.role == "user" and message.text.strip()]
    return " ".join(texts[0].split()) if texts else "A plan"


def to_markdown(document: Document) -> str:
    """Markdown whose pictures are the files that `Document.save` writes. Text can't become markup."""
    blocks = [f"# {_escape_markdown(title_of(document))}"]
    for number, message in enumerate(_shown(document)):
        for part in message.content:
            if isinstance(part, ImagePart):
                blocks.append(f"![{_escape_markdown(part.alt)}]({part.image})")
            elif part.text.strip() and not (number == 0 and message.role == "user"):
                lines = [_escape_markdown(line) for line in part.text.strip().splitlines()]
                quote = "> " if message.role == "user" else ""
                blocks.append("\n".join(f"{quote}{line}  " for line in lines).rstrip())
    return "\n\n".join(blocks) + "\n"


def to_html(document: Document) -> str:
    """One page with its pictures inside; everything from the document is escaped."""
    title = html.escape(title_of(document))
    body = [f"<h1>{title}</h1>"]
    for number, message in enumerate(_shown(document)):
        for part in message.content:
            if isinstance(part, ImagePart):
                picture = document.picture(part)
                body.append(
                    f'<figure><img src="{picture.data_url}" alt="{html.escape(part.alt)}"'
                    f' width="{part.width}" height="{part.height}"></figure>'
                )
            elif part.text.strip() and not (number == 0 and message.role == "user"):
                style = ' class="user"' if message.role == "user" else ""
                body += [
                    f"<p{style}>{html.escape(line)}</p>" for line in part.text.strip().splitlines() if line.strip()
                ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n<footer>Made with DuoGen. Text and pictures are generated and may be wrong.</footer>\n</body>\n</html>\n"
    )


def write_plan(document: Document, folder: Path) -> Path:
    """Writes ``plan.md``, ``plan.html``, the pictures and, last, ``plan.json``; returns the folder."""
    document.write_pictures(folder)
    write_atomically(folder / "plan.md", to_markdown(document).encode())
    write_atomically(folder / "plan.html", to_html(document).encode())
    document.save(folder)
    return folder


def _shown(document: Document) -> list[Message]:
    return [message for message in document.messages if message.role != "system"]


def _escape_markdown(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]<>#|~!&])", r"\\\1", " ".join(text.split()) if "\n" in text else text)
    # A line that begins like a list keeps its number; one that begins like another block does not.
    return re.sub(r"^(\s*)([-+=])", r"\1\\\2", text)
