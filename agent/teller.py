"""What the command line says while a run goes on."""

from __future__ import annotations

import sys
from pathlib import Path

from duogen.agent.events import DenoisingStep, Event, Finished, PictureChecked, PictureDone, PictureStarted, TextDelta
from duogen.document import Picture


class Teller:
    """Shows a run: text and pictures on stdout, progress on stderr, moving only where that is a terminal."""

    def __init__(self, folder: Path, silent: bool) -> None:
        from duogen.tools.terminal import protocol_of

        self.folder, self.silent = folder, silent
        self.protocol = "none" if silent else protocol_of(sys.stdout)
        self.moving = not silent and sys.stderr.isatty()
        self._line_open = False

    def __call__(self, event: Event) -> None:
        if self.silent:
            return
        if isinstance(event, TextDelta):
            text = "".join(char for char in event.text if char == "\n" or char.isprintable())
            print(text, end="", flush=True)
            self._line_open = not text.endswith("\n") if text else self._line_open
        elif isinstance(event, PictureStarted):
            self._end_line()
            self._progress(f"picture {event.index} ...")
        elif isinstance(event, DenoisingStep):
            bar = "#" * round(20 * event.step / event.steps)
            self._progress(f"picture {event.index} [{bar:<20}] {event.step}/{event.steps}")
        elif isinstance(event, PictureChecked):
            self._progress("")
            verdict = "shows the step" if event.accepted else "doesn't show the step"
            print(f"picture {event.index}: {verdict} ({event.chance:.2f})", file=sys.stderr, flush=True)
        elif isinstance(event, PictureDone):
            self._progress("")
            self.show(event.picture)
            print(f"[picture {event.index}: {self.folder / event.part.image}]", flush=True)
        elif isinstance(event, Finished):
            self._end_line()
            notes = {"length": "the text ran into its length limit", "repetition": "the text began to repeat itself"}
            for name in ("max_pictures", "max_seconds", "max_tokens"):
                notes[name] = f"stopped at --{name.replace('_', '-')}"
            if event.reason in notes:
                print(f"duogen: {notes[event.reason]}", file=sys.stderr)

    def show(self, picture: Picture) -> None:
        """The picture itself, where the terminal can."""
        from duogen.tools.terminal import show

        if self.moving:
            self._progress("")
        show(picture, sys.stdout, self.protocol)

    def _end_line(self) -> None:
        if self._line_open:
            print(flush=True)
            self._line_open = False

    def _progress(self, text: str) -> None:
        if self.moving:
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()
