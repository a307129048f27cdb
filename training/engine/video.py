"""Videos to transitions (paper, section 5): a clip's first picture, what changes, and its last picture.

read -> shots -> clips -> change -> caption
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image
from pydantic import BaseModel, Field
from scenedetect import ContentDetector, FrameTimecode, SceneManager
from scenedetect.backends import VideoStreamAv

from duogen.document import Picture
from duogen.training.engine.answers import Model, NoAnswer
from duogen.training.engine.config import EngineConfig, VideoLimits
from duogen.training.engine.item import Draft, Dropped, Figure, Passage, Store, identity
from duogen.training.engine.pictures import kept, pixels_fault, text_share
from duogen.training.engine.rewrite import URL
from duogen.training.engine.run import Job, Record, dropped, through
from duogen.training.engine.text import ADDRESSED_TO_MODELS

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ogv", ".ts")
STEPS = ("read", "change", "across", "caption", "finish")
TASK = """Two pictures are the first and the last of a short clip. Say in one or two plain sentences what has changed from the first to the second, as an
instruction to somebody who is to change the first picture: what moves, appears, goes, or is done. Don't mention a clip, a video or frames."""
REQUEST = "Here is how it looks now. Show me how it looks {seconds:g} seconds later: {change}"
PARTS = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))

av.logging.set_level(av.logging.PANIC)  # what is wrong with a file is said in one line, by us


class Change(BaseModel):
    """What has changed between two pictures."""

    change: str = Field(min_length=5, max_length=500)


@dataclass(frozen=True)
class BeginVideo:
    """From a clip to a draft with its two pictures; the job of a video finds its clips when it is made.

    Args:
        pictures: the folder of the store.
    """

    pictures: Path
    config: EngineConfig

    def __call__(self, job: Job) -> Record:
        draft = Draft(
            number=job["number"], id=identity("video", job["name"], str(job["start"])), source=job["name"],
            url=f"{job['name']}#t={job['start']:.2f},{job['end']:.2f}", title=f"{job['name']} at {job['start']:.1f} s",
        )  # fmt: skip
        if job["fault"]:
            return dropped(draft, "read", job["fault"])
        limits = self.config.video
        store = Store(self.pictures)
        try:
            images = frames_at(Path(job["path"]), [job["start"], job["end"]], limits)
            figures = []
            for image in images:
                grey = np.asarray(image.convert("L"))
                pixels_fault(grey, text_share(grey), self.config.pictures)
                figures.append(kept(Figure(url=draft.url), Picture.from_image(image), store))
        except Dropped as why:
            return dropped(draft, "read", str(why))
        draft = draft.model_copy(update={"blocks": figures, "topic": f"{job['end'] - job['start']:.1f}"})
        return through(draft.counted("read"), [EnoughChange(store, limits)])


@dataclass(frozen=True)
class EnoughChange:
    """Drops clips in which nothing happens, or everything; notes where it does."""

    store: Store
    limits: VideoLimits
    name = "change"

    def __call__(self, draft: Draft) -> Draft:
        first, last = (
            np.asarray(self.store.get(figure).image().convert("L"), dtype=np.float32) for figure in draft.figures
        )
        apart = np.abs(first - last) / 255
        mean = float(apart.mean())
        if mean < self.limits.min_change:
            raise Dropped(f"too little changes: {mean:.3f}")
        if mean > self.limits.max_change:
            raise Dropped(f"too much changes: {mean:.3f}")
        return draft.model_copy(update={"scores": {"change": round(mean, 4)}, "request": where(apart)})


def where(apart: Any) -> str:
    """In words, the parts of a picture that change most; `apart` [height, width]."""
    cells = cv2.resize(apart, (3, 3), interpolation=cv2.INTER_AREA)
    strong = [PARTS[row][column] for row, column in zip(*np.nonzero(cells >= 0.6 * cells.max()), strict=True)]
    if len(strong) > 4:
        return "much of it has changed."
    said = strong[0] if len(strong) == 1 else f"{', '.join(strong[:-1])} and {strong[-1]}"
    return f"what is at the {said} has changed."


@dataclass(frozen=True)
class Caption:
    """Says what changes.

    Args:
        viewer: a model that sees pictures; without one, only where something changes is said.
    """

    store: Store
    viewer: Model | None = None
    name = "caption"

    def __call__(self, draft: Draft) -> Draft:
        if self.viewer is None:
            return draft
        try:
            pictures = tuple(self.store.get(figure) for figure in draft.figures)
            made = " ".join(self.viewer.ask(TASK, {"seconds": draft.topic}, Change, pictures).change.split())
            if URL.search(made) or ADDRESSED_TO_MODELS.search(made):
                raise NoAnswer("it isn't a change")
        except NoAnswer as why:
            return draft.by_rules(self.name, draft.title, f"no caption: {why}")
        return draft.model_copy(update={"request": made})


@dataclass(frozen=True)
class Transition:
    """The first picture and the change are the user's, the last picture is the answer."""

    name = "finish"

    def __call__(self, draft: Draft) -> Draft:
        first, last = draft.figures
        change = draft.request
        request = REQUEST.format(seconds=float(draft.topic), change=change)
        shown = last.model_copy(update={"shows": change})
        said = Passage(text=f"{change[:1].upper()}{change[1:]}")
        return draft.model_copy(update={"given": [first], "request": request, "blocks": [said, shown], "topic": ""})


def finishing(pictures: Path, viewer: Model | None) -> list[Any]:
    return [Caption(Store(pictures), viewer), Transition()]


def jobs(inputs: list[Path], limits: VideoLimits) -> Iterator[Job]:
    """All clips of all videos, numbered; a video that can't be used is one job, with what is wrong with it."""
    number = 0
    for given in inputs:
        files = (
            [given] if given.is_file() else sorted(path for path in given.rglob("*") if path.suffix.lower() in SUFFIXES)
        )
        for path in files:
            name = path.name if given.is_file() else path.relative_to(given).as_posix()
            base = {"path": str(path), "name": name, "start": 0.0, "end": 0.0, "fault": ""}
            try:
                for start, end in clips_of(path, limits):
                    yield base | {"number": number, "start": start, "end": end}
                    number += 1
            except Dropped as why:
                yield base | {"number": number, "fault": str(why)}
                number += 1


def clips_of(path: Path, limits: VideoLimits) -> list[tuple[float, float]]:
    """Begin and end, in seconds, of all clips that lie within one shot; raises `Dropped` where the video can't be used."""
    clips = [
        (round(begin + number * limits.seconds, 3), round(begin + (number + 1) * limits.seconds, 3))
        for begin, end in shots_of(path, limits.threshold)
        for number in range(math.floor((end - begin + 1e-3) / limits.seconds))
    ]
    if not clips:
        raise Dropped(f"no shot is {limits.seconds:g} seconds long")
    return clips[: limits.max_clips]


def shots_of(path: Path, threshold: float) -> list[tuple[float, float]]:
    """Begin and end, in seconds, of the shots of a video (PySceneDetect, ContentDetector)."""
    _readable(path)
    try:
        manager = SceneManager()
        manager.add_detector(ContentDetector(threshold=threshold))
        manager.detect_scenes(VideoStreamAv(str(path)))
        scenes: list[tuple[FrameTimecode, FrameTimecode]] = manager.get_scene_list(start_in_scene=True)
    except Exception as error:  # whatever a decoder, or the library around it, makes of a damaged file
        raise Dropped(f"its shots can't be told apart ({_said(error)})") from error
    return [(begin.seconds, end.seconds) for begin, end in scenes]


def _readable(path: Path) -> None:
    """Raises `Dropped` where there is no picture to be had of a file."""
    try:
        with av.open(str(path)) as video:
            if not video.streams.video:
                raise Dropped("there are no pictures in it")
            if next(video.decode(video=0), None) is None:
                raise Dropped("not one frame can be decoded")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Dropped(f"not a video that can be read ({_said(error)})") from error


def frames_at(path: Path, seconds: list[float], limits: VideoLimits) -> list[Image.Image]:
    """The pictures of a video at some times, in order; the last of all where a time is at its end.

    Raises:
        Dropped: the video breaks off before.
    """
    found: list[Image.Image] = []
    try:
        with av.open(str(path)) as video:
            stream = video.streams.video[0]
            begin = float((stream.start_time or 0) * (stream.time_base or 0))
            video.seek(int((seconds[0] + begin) * av.time_base), backward=True, any_frame=False)
            before = None
            for frame in video.decode(stream):
                while (
                    len(found) < len(seconds)
                    and frame.time is not None
                    and frame.time - begin >= seconds[len(found)] - 1e-3
                ):
                    found.append(_small(frame.to_image(), limits.longest_side))
                before = frame
                if len(found) == len(seconds):
                    return found
            if (
                len(found) == len(seconds) - 1
                and before is not None
                and before.time is not None
                and before.time - begin > seconds[-1] - 0.5
            ):
                found.append(_small(before.to_image(), limits.longest_side))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Dropped(f"it can't be decoded ({_said(error)})") from error
    if len(found) < len(seconds):
        raise Dropped("it breaks off before the clip ends")
    return found


def _small(image: Image.Image, side: int) -> Image.Image:
    image.thumbnail((side, side))
    return image


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
