"""Prompts and the documents that are made of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from loopback import Answer, serving

from duogen.cli import run
from duogen.document import read_jsonl
from duogen.training.engine.prompts import SAME, Taxonomy, coverage, expand
from duogen.training.engine.text import words_of

from .photos import encoded, photo
from .server import chat


def test_prompts_cover_the_taxonomy_without_duplicates() -> None:
    taxonomy = Taxonomy.load()
    prompts, faults = expand(taxonomy, 90, 0)
    assert not faults and len(prompts) == 90 and len({prompt.domain for prompt in prompts}) == 8
    assert coverage(prompts, taxonomy)["subcategories"] == "32 of 32"
    assert len({prompt.domain for prompt in prompts[:8]}) == 8  # a shorter list is spread, too
    words = [frozenset(words_of(prompt.text)) for prompt in prompts]
    assert not any(len(a & b) / len(a | b) >= SAME for i, a in enumerate(words) for b in words[:i])
    assert prompts == expand(taxonomy, 90, 0)[0] != expand(taxonomy, 90, 1)[0]
    assert "{" not in "".join(prompt.text for prompt in prompts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[home]\na = ['Fix the {thing}.']", "{thing}"), ("[home]\na = 'x'", "must be a list"), ("[slots]\na = ['x']", "no domain"), ("[home", "not a TOML"),
    ],
)  # fmt: skip
def test_bad_taxonomies(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.toml").write_text(text)
    assert run(["data", "synthetic", "--taxonomy", str(tmp_path / "t.toml"), "-o", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err


def test_a_dry_run_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "synthetic", "-n", "5", "--dry-run", "-o", str(tmp_path / "o")]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 5 and json.loads(captured.err)["prompts"] == 5
    assert not (tmp_path / "o").exists()


def test_the_default_model_draws_and_checks(tmp_path: Path) -> None:
    arguments = [
        "data",
        "synthetic",
        "-n",
        "4",
        "--taxonomy",
        "world",
        "-o",
        str(tmp_path / "o"),
        "-q",
        "--check",
        "0.2",
    ]
    assert run(arguments) == 0
    entries = [json.loads(line) for line in (tmp_path / "o" / "manifest.jsonl").read_text().splitlines()]
    assert len(entries) == 4 and all(entry["kept"] or entry["reason"] for entry in entries)
    documents = list(read_jsonl(tmp_path / "o" / "documents-00000.jsonl"))
    assert documents and all(document.images for document in documents)
    assert documents[0].messages[0].text == entries[[entry["kept"] for entry in entries].index(True)]["request"]


STEPS = [
    {"text": "Cut the paper in two halves with the scissors on the table.", "picture": "two halves of a sheet"},
    {"text": "Glue both halves together and wait until the glue is dry.", "picture": "one glued sheet"},
]


def endpoint(seen: list[str], shows: bool, data: Any = None) -> Any:
    def reply(schema: dict[str, Any], asked: dict[str, Any]) -> Any:
        if schema["name"] == "Prompts":
            return {
                "prompts": [
                    f"{asked['subcategory']}, way {n}: how is it done with {word}?"
                    for n, word in enumerate(("wool", "wood", "tin"))
                ]
            }
        return {"steps": STEPS} if schema["name"] == "Plan" else {"shows": shows, "why": "I looked"}

    talk = chat(reply)

    def answer(path: str, body: bytes) -> Answer:
        if not path.endswith("/images/generations"):
            return talk(path, body)
        prompt = json.loads(body)["prompt"]
        seen.append(prompt)
        made = base64.b64encode(encoded(photo(prompt))).decode() if data is None else data
        return (
            200,
            {"content-type": "application/json"},
            json.dumps({"created": 1, "data": [{"b64_json": made}]}).encode(),
        )

    return answer


def with_endpoint(output: Path, answer: Any) -> tuple[int, list[dict[str, Any]]]:
    with serving(answer) as url:
        names = [
            text
            for kind in ("llm", "mllm", "image")
            for text in (f"--{kind}-url", f"{url}/v1", f"--{kind}" if kind != "image" else "--image-model", "m")
        ]
        code = run(["data", "synthetic", "-n", "3", "-o", str(output), "-q", *names])
    return code, [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def test_endpoints_write_paint_and_check(tmp_path: Path) -> None:
    seen: list[str] = []
    code, entries = with_endpoint(tmp_path / "o", endpoint(seen, True))
    assert code == 0 and len(entries) == 3 and "way 0" in entries[0]["request"]
    assert seen == [step["picture"] for step in STEPS] * 3
    document = next(read_jsonl(tmp_path / "o" / "documents-00000.jsonl"))
    assert [part.type for part in document.messages[1].content] == ["text", "image"] * 2


@pytest.mark.parametrize(
    ("shows", "data", "why"),
    [(False, None, "doesn't show what it should"), (True, "%%", "no picture"), (True, "", "no picture")],
)
def test_what_endpoints_get_wrong_is_dropped(tmp_path: Path, shows: bool, data: str | None, why: str) -> None:
    code, entries = with_endpoint(tmp_path / "o", endpoint([], shows, data))
    assert code == 1 and all(why in entry["reason"] for entry in entries)
