"""Transitions cut from videos that the tests write, good ones and bad ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from duogen.cli import run
from duogen.document import read_jsonl

from .photos import photo


def film(path: Path, frames: Iterable[Image.Image], rate: int = 4, codec: str = "mpeg4") -> Path:
    with av.open(str(path), "w") as video:
        stream = video.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            if not number:
                stream.width, stream.height = image.size
            video.mux(stream.encode(av.VideoFrame.from_image(image)))
        video.mux(stream.encode())
    return path


def shot(seed: int, seconds: float, travel: int = 0, rate: int = 4) -> list[Image.Image]:
    """A scene with a white square that goes down its left side."""
    ground = photo(f"shot{seed}", (320, 240))
    made = []
    for number in range(int(seconds * rate)):
        image = ground.copy()
        top = 10 + round(travel * number / (seconds * rate))
        ImageDraw.Draw(image).rectangle((10, top, 90, top + 80), fill="white")
        made.append(image)
    return made


def manifest(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_transitions_lie_within_shots(tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", [*shot(1, 6, 130), *shot(2, 5.5), *shot(3, 3, 130)])
    assert run(["data", "video", str(tmp_path / "in.mp4"), "-o", str(tmp_path / "out"), "-q"]) == 0
    first, second = manifest(tmp_path / "out")
    assert first["kept"] and first["url"] == "in.mp4#t=0.00,5.00"
    assert second["url"] == "in.mp4#t=6.00,11.00" and str(second["reason"]).startswith("too little changes")
    (document,) = read_jsonl(tmp_path / "out" / "documents-00000.jsonl")
    asked, answer = document.messages
    assert "5 seconds later" in asked.text and "left" in answer.text
    before, after = (np.asarray(document.picture(part).image().convert("L"), dtype=int) for part in document.images)
    assert before[30:80, 20:80].mean() > 230 > 200 > after[15:30, 20:80].mean() and after[140:190, 20:80].mean() > 230
    assert [part.type for part in asked.content] == ["image", "text"] and [part.type for part in answer.content] == [
        "text",
        "image",
    ]


def test_bad_videos_cost_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = film(folder / "good.mkv", shot(4, 6, 120)).read_bytes()
    (folder / "torn.mkv").write_bytes(good[: len(good) // 3])
    (folder / "rubbish.mp4").write_bytes(b"not a film" * 100)
    (folder / "empty.webm").write_bytes(b"")
    film(folder / "short.mp4", shot(5, 2, 100))
    with av.open(str(folder / "sound.mkv"), "w") as sound:
        stream = sound.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.sample_rate = 8000
        sound.mux(stream.encode(frame))
        sound.mux(stream.encode())
    # Without its first packet, which has the key frame, nothing of a video can be decoded.
    with av.open(str(folder / "good.mkv")) as source, av.open(str(folder / "headless.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and not packet.is_keyframe:
                packet.stream = stream
                target.mux(packet)
    assert run(["data", "video", str(folder), "-o", str(tmp_path / "out"), "-q"]) == 0
    entries = {str(each["source"]): each for each in manifest(tmp_path / "out")}
    assert len(entries) == 7 and [name for name, each in entries.items() if each["kept"]] == ["good.mkv"]
    reasons = {name: str(each.get("reason", "")) for name, each in entries.items()}
    assert all(len(reason) < 200 and "\n" not in reason for reason in reasons.values())
    assert "no pictures" in reasons["sound.mkv"] and "5 seconds long" in reasons["short.mp4"]
    assert "not a video" in reasons["rubbish.mp4"] and "not a video" in reasons["empty.webm"]
    assert reasons["headless.mkv"] and reasons["torn.mkv"]
    assert run(["data", "video", str(folder / "none.mp4"), "-o", str(tmp_path / "o")]) == 2
    assert "no such file" in capsys.readouterr().err
