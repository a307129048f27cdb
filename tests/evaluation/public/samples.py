"""Small data sets in exactly the formats of the public benchmarks, with pictures that are told apart by their colours."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import torch
from PIL import Image
from pyarrow import parquet

Rows = list[dict[str, Any]]


def png(colour: str, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def put(folder: Path, name: str, colour: str, size: tuple[int, int] = (64, 48)) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(colour, size))
    return name


def write(path: Path, body: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in body) if lines else json.dumps(body), encoding="utf-8")
    return path


def geneval(folder: Path) -> Path:
    rows = [
        {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
        {
            "tag": "counting", "prompt": "a photo of two clocks",
            "include": [{"class": "clock", "count": 2}], "exclude": [{"class": "clock", "count": 3}],
        },
    ]  # fmt: skip
    write(folder / "evaluation_metadata.jsonl", rows)
    return folder


GEDIT: Rows = [
    {"task_type": "color_alter", "key": "k1", "instruction": "make it red", "instruction_language": "en", "Intersection_exist": True},
    {"task_type": "color_alter", "key": "k2", "instruction": "make it blue", "instruction_language": "en", "Intersection_exist": False},
    {"task_type": "subject-add", "key": "k3", "instruction": "add a dog", "instruction_language": "en", "Intersection_exist": True},
    {"task_type": "subject-add", "key": "k4", "instruction": "加一只狗", "instruction_language": "cn", "Intersection_exist": True},
]  # fmt: skip


def gedit(folder: Path) -> Path:
    """As Hugging Face ships it: parquet with pictures in it."""
    rows = [row | {"input_image_raw": {"bytes": png("grey"), "path": "x.png"}} for row in GEDIT]
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    return folder


def imgedit(folder: Path) -> Path:
    rows = {
        "1082": {"id": "animal/000342.jpg", "prompt": "remove the bird", "edit_type": "remove"},
        "673": {"id": "human/1.jpg", "prompt": "as a drawing", "edit_type": "style"},
        "674": {"id": "human/1.jpg", "prompt": "in oil", "edit_type": "style"},
    }
    for row in rows.values():
        put(folder / "singleturn", row["id"], "grey")
    write(folder / "basic_edit.json", rows)
    return folder


def cooking200(folder: Path) -> Path:
    rows = [
        {"id": f"dish-{n}", "dish": dish, "image": put(folder, f"dishes/{n}.png", "tan")}
        for n, dish in enumerate(("omelette", "pancakes"))
    ]
    write(folder / "cooking200.jsonl", rows)
    return folder


def howto500(folder: Path) -> Path:
    rows = [
        {"id": "h1", "prompt": "How do I plant a tree?", "subcategory": "garden"},
        {"id": "h2", "prompt": "How do I mend a tyre?", "subcategory": "bicycles"},
    ]
    write(folder / "howto500.jsonl", rows)
    return folder


def interleavedbench(folder: Path) -> Path:
    """The first's second picture belongs to the reference, and has no slot in the request."""
    images = folder / "zipped_images"
    rows = [
        {
            "id": "wiki_1", "task_name": "wikihow_next_step", "image": [put(images, "w/1.png", "red"), put(images, "w/2.png", "blue")],
            "conversations": [
                {"from": "human", "value": "<BEGIN> Here is the first step. <image> What comes next?"},
                {"from": "gpt", "value": "The second. <image>"},
            ],
        },
        {
            "id": "edit_1", "task_name": "image_editing", "image": [put(images, "e/1.png", "red")],
            "conversations": [{"from": "human", "value": "<image> Make it green."}, {"from": "gpt", "value": ""}],
        },
    ]  # fmt: skip
    write(folder / "interleaved_bench.json", rows)
    return folder


def comm_rows(folder: Path) -> Rows:
    def step(text: str, colour: str) -> Rows:
        return [
            {"type": "text", "content": text},
            {"type": "image", "content": put(folder, f"images/{colour}.jpg", colour)},
        ]

    colours = ("red", "green", "blue", "white")
    steps = [step(f"Paint it {colour}.", colour) for colour in colours]
    return [
        {"data_id": "wikihow_7", "dataset_type": "wikihow", "title": "How to paint a wall", "step_info": steps},
        {"data_id": "story_2", "dataset_type": "storybird", "title": "The hat", "step_info": steps[:2]},
    ]


def comm(folder: Path) -> Path:
    """As published: a pickle."""
    rows = comm_rows(folder)
    torch.save(rows, folder / "test.pt")
    return folder


def opening(folder: Path) -> Path:
    def row(data: str, pieces: Rows, **more: str) -> dict[str, Any]:
        names = {
            "meta_task_id": "3",
            "meta_task_name": "Completion",
            "subtask_id": "2",
            "subtask_name": "Report Completion",
        }
        truth = [{"text": "It is.", "image": None}]
        return names | {"data_id": data} | more | {"conversations": [{"input": pieces}, {"output": truth}]}

    image = put(folder, "images/Report Completion/5-i-1.jpg", "gold")
    rows = [
        row("5", [{"text": "<BEGIN> Complete the report: <image>", "image": f"./{image}"}]),
        row("6", [{"text": "<BEGIN> Tell a story.", "image": None}], total_uid="0302006"),
    ]
    write(folder / "test_data.jsonl", rows)
    return folder


def ueval(folder: Path) -> Path:
    rows = [
        {
            "id": 1, "prompt": "How do I tie a knot?", "task": "life", "question_type": "open",
            "text_rubrics": ["names the loop", "names the end", "is numbered"], "image_rubrics": ["shows a rope"],
        },
        {
            "id": 2, "prompt": "Draw the triangle with sides 3, 4, 5.", "task": "diagram", "question_type": "closed",
            "text_rubrics": ["says that it is right-angled"], "image_rubrics": ["has three sides", "marks the right angle"],
        },
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    return folder


MAKERS = {
    "geneval": geneval, "gedit": gedit, "imgedit": imgedit, "cooking200": cooking200, "howto500": howto500,
    "interleavedbench": interleavedbench, "comm": comm, "opening": opening, "ueval": ueval,
}  # fmt: skip
