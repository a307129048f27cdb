"""Records of other projects: as they are published, there and back."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from duogen.cli import run
from duogen.document import Document, Picture, read_jsonl, write_jsonl
from duogen.training.engine.records import FORMATS

from .photos import encoded, photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p").mkdir()
    for number in (1, 2):
        (tmp_path / "p" / f"{number}.jpg").write_bytes(encoded(photo(number)))
    return tmp_path


BYTES = {"bytes": base64.b64encode(encoded(photo(2))).decode()}
TURNS = [{"from": "human", "value": "<image>\nPaint it."}, {"from": "gpt", "value": "Here.<image>"}]
PUBLISHED: dict[str, Any] = {
    "ms-swift": {"messages": [{"role": "user", "content": "<image>Paint it."}, {"role": "assistant", "content": "Here.<image>"}], "images": ["p/1.jpg", "p/2.jpg"]},
    "llama-factory": [{"conversations": TURNS, "system": "Be kind.", "images": ["p/1.jpg", "p/2.jpg"]}],
    "llava": [{"id": "1", "image": ["p/1.jpg", "p/2.jpg"], "conversations": TURNS}],
    "x2i2": {"task_type": "edit", "instruction": "Paint it.", "input_images": ["p/1.jpg"], "output_image": "p/2.jpg"},
    "sharegpt-4o-image": [{"input_prompt": "Paint it.", "input_image": ["p/1.jpg"], "output_image": "p/2.jpg", "output_image_resolution": [320, 240]}],
    "comm": [{"data_id": "7", "dataset_type": "wikihow", "title": "Paint it.", "step_info": [[{"type": "text", "text": "First."}, {"type": "image", "image": "p/1.jpg"}], {"type": "text", "text": "Then."}, {"type": "image", "image": "p/2.jpg"}]}],
    "zebra-cot": {"Question": "Paint it.<image_start>[problem_image_1]<image_end>", "Text Reasoning Trace": "Here.\n<image_start>[reasoning_image_1]<image_end>", "Final Answer": "Done.", "problem_image_1": {"path": "p/1.jpg"}, "reasoning_image_1": BYTES},
}  # fmt: skip


def shapes(document: Document) -> list[tuple[str, list[str]]]:
    return [
        (message.role, [part.type for part in message.content])
        for message in document.messages
        if message.role != "system"
    ]


@pytest.mark.parametrize("kind", PUBLISHED)
def test_as_published(kind: str, folder: Path) -> None:
    record = PUBLISHED[kind]
    (folder / "in.json").write_text(json.dumps(record))
    assert run(["data", "convert", str(folder / "in.json"), "-f", kind, "-o", str(folder / "own" / "d.jsonl")]) == 0
    (document,) = read_jsonl(folder / "own" / "d.jsonl")
    wanted = {"comm": [("user", ["text"]), ("assistant", ["text", "image", "text", "image"])]}
    user, assistant = shapes(document)
    if kind == "comm":
        assert [user, assistant] == wanted["comm"]
    else:
        assert user[0] == "user" and sorted(user[1]) == ["image", "text"] and assistant[1].count("image") == 1
    assert "Paint it." in document.messages[-2].text
    assert document.picture(document.images[-1]) == Picture(encoded(photo(2)))
    # And back: what is written reads as the same document.
    assert (
        run(["data", "convert", str(folder / "own" / "d.jsonl"), "-t", kind, "-o", str(folder / "back" / "r.json")])
        == 0
    )
    assert (
        run(["data", "convert", str(folder / "back" / "r.json"), "-f", kind, "-o", str(folder / "again" / "d.jsonl")])
        == 0
    )
    (again,) = read_jsonl(folder / "again" / "d.jsonl")
    assert shapes(again) == shapes(document) and [part.sha256 for part in again.images] == [
        part.sha256 for part in document.images
    ]
    written = (
        json.loads((folder / "back" / "r.json").read_text().splitlines()[0])
        if not FORMATS[kind].as_list
        else json.loads((folder / "back" / "r.json").read_text())[0]
    )
    published = record[0] if isinstance(record, list) else record
    assert set(written) == set(published)


def test_what_does_not_fit_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = Document()
    document.add_request("Two.")
    document.add_message("assistant")
    for number in (1, 2):
        document.add_picture(Picture.from_file(folder / "p" / f"{number}.jpg"))
    write_jsonl([document], folder / "d.jsonl")
    assert run(["data", "convert", str(folder / "d.jsonl"), "-t", "x2i2", "-o", str(folder / "o.jsonl")]) == 3
    assert "record 1: its answer has 2 pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "record", "said"),
    [
        ("llava", {"conversations": [{"from": "robot", "value": "x"}]}, "human, gpt"),
        ("llava", {"conversations": TURNS, "image": "p/1.jpg"}, "2 <image> marks but 1 images"),
        ("x2i2", {"input_images": []}, "the field instruction is missing"),
        ("x2i2", {"instruction": "x", "output_image": "p/none.jpg"}, "can't read the picture"),
        ("x2i2", {"instruction": "x", "output_image": "../../../etc/passwd"}, "leaves the records' folder"),
        ("x2i2", {"instruction": "x", "output_image": {"bytes": "%%"}}, "aren't base64"),
        ("comm", {"title": "x", "step_info": [{"type": "sound"}]}, "type 'sound'"),
        (
            "zebra-cot",
            {"Question": "x<image_start>[problem_image_1]<image_end>", "Text Reasoning Trace": "y"},
            "no picture problem_image_1",
        ),
        ("duogen", {"messages": [{"role": "robot"}]}, "not a document"),
        ("duogen", [3], "it is no object"),
    ],
)
def test_bad_records_cost_a_line_each(
    kind: str, record: Any, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = record if isinstance(record, list) else [record]
    (folder / "in.json").write_text(json.dumps(records))
    assert run(["data", "convert", str(folder / "in.json"), "-f", kind, "-o", str(folder / "o.jsonl")]) == 3
    told = capsys.readouterr().err.splitlines()
    assert said in told[0] and told[0].startswith("record 1: ") and told[1] == "0 records, 1 couldn't be converted"


def test_bad_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in.pkl").write_bytes(pickle.dumps([{"title": "x"}], protocol=4))
    (folder / "in.json").write_text("{nothing")
    for arguments, said in [
        (["in.pkl", "-f", "comm"], "pickle isn't loaded"), (["in.json"], "not JSON"), (["none.json"], "can't be read"),
        (["in.json", "-f", "parquet"], "no such format"), (["in.json", "-t", "csv"], "no such format"),
    ]:  # fmt: skip
        assert run(["data", "convert", str(folder / arguments[0]), *arguments[1:], "-o", str(folder / "o.jsonl")]) == 2
        assert said in capsys.readouterr().err
    assert run(["data", "convert", str(folder / "in.json"), "-o", str(folder / "in.pkl")]) == 2
