"""What became of everything: counts at each step, a datasheet, and a page with samples of what was kept and of what was dropped."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from duogen import __version__
from duogen.document import Document, Picture, write_atomically
from duogen.errors import InputError
from duogen.tools.export import render
from duogen.training.engine.item import Store

SAMPLES = 12
THUMBNAIL = 160


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """Raises `InputError` where a folder is none of the engine's."""
    try:
        lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: there is no manifest of the data engine in it, or not a whole one") from error


def kind_of(reason: str) -> str:
    """A reason without what is particular to one case."""
    plain = re.sub(r"\d[\d,.]*", "N", reason)
    plain = re.sub(r"^(?:N x N|[\w\[\]-]+(?:\.[\w-]+)+): ", "", plain)
    return re.sub(r"(?::| \() ?N\b.*$", "", plain)[:80]


def counts_of(manifest: Iterable[dict[str, Any]], steps: Sequence[str]) -> dict[str, Any]:
    """For each step: documents, passages and pictures that are left behind it, and why others aren't."""
    table: dict[str, dict[str, Any]] = {
        step: {"in": 0, "out": 0, "passages": 0, "pictures": 0, "dropped": Counter(), "lost": Counter()}
        for step in steps
    }
    unread: Counter[str] = Counter()
    items = kept = fallbacks = 0
    for record in manifest:
        if "number" not in record:
            unread[kind_of(record["reason"])] += 1
            continue
        items += 1
        kept += record["kept"]
        fallbacks += bool(record.get("fallbacks"))
        for count in record.get("counts", []):
            row = table[count["step"]]
            row["in"] += 1
            row["out"] += 1
            row["passages"] += count["passages"]
            row["pictures"] += count["pictures"]
        if not record["kept"]:
            row = table[record["step"]]
            row["in"] += 1
            row["dropped"][kind_of(record["reason"])] += 1
        for loss in record.get("losses", []):
            table[loss["step"]]["lost"][kind_of(loss["reason"])] += 1
    rows = [
        {"step": step, **row, "dropped": dict(row["dropped"].most_common()), "lost": dict(row["lost"].most_common())}
        for step, row in table.items()
    ]
    return {"items": items, "kept": kept, "by_rules_instead": fallbacks, "unread": dict(unread), "steps": rows}


def write_report(folder: Path, steps: Sequence[str], facts: str, title: str) -> dict[str, Any]:
    """Writes ``counts.json``, ``datasheet.md`` and ``report.html`` from the manifest; returns the counts.

    Args:
        facts: the run's settings and sources, as JSON.
    """
    manifest = read_manifest(folder)
    counts = counts_of(manifest, steps)
    write_atomically(folder / "counts.json", json.dumps(counts, indent=1, ensure_ascii=False).encode())
    licences = Counter(record.get("licence") or "not stated" for record in manifest if record["kept"])
    sources = Counter(_site(record) for record in manifest if record["kept"])
    numbers = _numbers(manifest)
    sheet = _datasheet(title, counts, licences, sources, numbers, facts)
    write_atomically(folder / "datasheet.md", sheet.encode())
    page = render(
        "data.html.j2", title=title, counts=counts, licences=licences.most_common(), sources=sources.most_common(30),
        histograms=_histograms(manifest), kept=list(_kept(folder, manifest)), gone=list(_gone(manifest)),
        pictures=list(_lost_pictures(folder, manifest)),
    )  # fmt: skip
    write_atomically(folder / "report.html", page.encode())
    return counts


def _site(record: dict[str, Any]) -> str:
    url = str(record.get("url") or record.get("source") or "")
    match = re.match(r"https?://([^/]+)", url)
    return match[1] if match else url.rpartition("/")[0] or str(record.get("source"))


def _numbers(manifest: list[dict[str, Any]]) -> dict[str, float]:
    kept = [record for record in manifest if record["kept"]]
    pictures = [len(record["pictures"]) for record in kept]
    scores = [record["scores"]["score"] for record in kept if "score" in record["scores"]]
    return {
        "documents": len(kept), "pictures": sum(pictures), "pictures a document": round(sum(pictures) / max(1, len(kept)), 2),
        "mean quality": round(sum(scores) / max(1, len(scores)), 3),
    }  # fmt: skip


def _histograms(manifest: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [record for record in manifest if record["kept"]]
    values = {
        "pictures a document": [float(len(record["pictures"])) for record in kept],
        "passages a document": [float(record["counts"][-1]["passages"]) for record in kept if record["counts"]],
        "quality": [record["scores"]["score"] for record in kept if "score" in record["scores"]],
    }
    return [{"name": name, "bars": _bars(each)} for name, each in values.items() if each]


def _bars(values: list[float], count: int = 12) -> list[dict[str, Any]]:
    low, high = min(values), max(values)
    width = (high - low) / count or 1.0
    if all(value == int(value) for value in values):
        width = max(1.0, -(-(high - low + 1) // count))
    heights: defaultdict[int, int] = defaultdict(int)
    for value in values:
        heights[min(count - 1, int((value - low) / width))] += 1
    most = max(heights.values())
    return [
        {"from": round(low + index * width, 2), "count": heights[index], "share": heights[index] / most}
        for index in range(max(heights) + 1)
    ]


def _kept(folder: Path, manifest: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    kept = [record for record in manifest if record["kept"]]
    for record in _some(kept):
        with open(folder / record["shard"], encoding="utf-8") as lines:
            line = next(line for number, line in enumerate(lines) if number == record["line"])
        document = Document.from_json(line)
        parts = [
            {"role": message.role, "parts": [part.model_dump() for part in message.content]}
            for message in document.messages
        ]
        yield {
            "title": record.get("title") or record["id"],
            "url": record.get("url"),
            "scores": record.get("scores"),
            "messages": parts,
            "losses": record["losses"],
        }


def _gone(manifest: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Samples of dropped items, of each reason some."""
    by_reason: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in manifest:
        if not record["kept"]:
            by_reason[f"{record['step']}: {kind_of(record['reason'])}"].append(record)
    for reason, records in sorted(by_reason.items(), key=lambda pair: -len(pair[1])):
        names = [record.get("title") or record.get("url") or record.get("what") for record in _some(records, 3)]
        yield {"reason": reason, "count": len(records), "names": names}


def _lost_pictures(folder: Path, manifest: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Pictures that were read and dropped, by reason, small, as far as they are still there."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for record in manifest:
        for loss in record.get("losses", []):
            if loss.get("sha256"):
                by_reason[f"{loss['step']}: {kind_of(loss['reason'])}"].append(loss["sha256"])
    store = Store(folder / "work" / "pictures")
    for reason, hashes in sorted(by_reason.items(), key=lambda pair: -len(pair[1])):
        shown = []
        for sha256 in _some(sorted(set(hashes)), 4):
            path = store.find(sha256)
            if path is not None:
                image = Picture.from_file(path).image()
                image.thumbnail((THUMBNAIL, THUMBNAIL))
                shown.append(Picture.from_image(image).data_url)
        yield {"reason": reason, "count": len(hashes), "shown": shown}


def _some(records: list[Any], count: int = SAMPLES) -> list[Any]:
    if len(records) <= count:
        return records
    places = sorted(random.Random("samples").sample(range(len(records)), count))
    return [records[place] for place in places]


def _datasheet(
    title: str,
    counts: dict[str, Any],
    licences: Counter[str],
    sources: Counter[str],
    numbers: dict[str, float],
    facts: str,
) -> str:
    """A datasheet (Gebru et al. 2021), as far as a program can fill it in."""
    rows = "\n".join(
        f"| {row['step']} | {row['in']} | {row['out']} | {row['passages']} | {row['pictures']} |"
        for row in counts["steps"]
    )
    reasons = "\n".join(
        f"- {row['step']}: {reason}: {count}" for row in counts["steps"] for reason, count in row["dropped"].items()
    )
    return f"""# {title}

Made by `duogen data`, version {__version__}. A record is a dialogue: a request, and an answer of text and pictures in turn.

## What it holds

{chr(10).join(f"- {name}: {value:g}" for name, value in numbers.items())}
- by rules, where a model gave no answer that could be used: {counts["by_rules_instead"]} documents

## Where it comes from

{chr(10).join(f"- {source}: {count}" for source, count in sources.most_common(50)) or "- nothing was kept"}

Licences, as the sources state them:

{chr(10).join(f"- {licence}: {count}" for licence, count in licences.most_common()) or "- nothing was kept"}

What isn't stated isn't allowed: whoever hands this on, or a model trained on it, has to look at the sources.

## How it was made

| step | items in | out | passages | pictures |
| --- | --- | --- | --- | --- |
{rows}

Items dropped:

{reasons or "- none"}

manifest.jsonl has the reason for every item, passage and picture that was left out.

## Settings

```json
{facts}
```

## What isn't known

Whether people on pictures agreed to be there, and what the sources' texts get wrong: nothing here checks either.
"""
