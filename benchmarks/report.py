"""A benchmark's figures as a Markdown document and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duogen.benchmarks.clock import PARTS
from duogen.benchmarks.rivals import RIVALS
from duogen.document import write_atomically


def save(report: dict[str, Any], path: Path) -> None:
    write_atomically(path, json.dumps(report, indent=2).encode())


def tables(report: dict[str, Any]) -> str:
    """All that a report holds, in words and tables."""
    machine = report["machine"]
    sections = [
        f"{machine['processor']}, {machine['threads']} threads{', ' + machine['gpu'] if machine['gpu'] else ''}; torch "
        f"{machine['torch']}; a matrix product of 1,024 runs at {report['peak_flops'] / 1e9:.0f} GFLOP/s. "
        f"{report['steps']} steps, guidance {report['guidance']}; medians of {report['repeats']}."
    ]
    for work, rows in report.get("works", {}).items():
        sections.append(f"**{work}**\n\n{_work(rows)}")
    for name, rows in report.get("batches", {}).items():
        sections.append(f"**{name}**\n\n{_batch(rows)}")
    if start := report.get("start_up"):
        sections.append("**Start-up**: " + ", ".join(f"{what} {took:.2f} s" for what, took in start.items()) + ".")
    return "\n\n".join(sections)


def _work(rows: dict[str, Any]) -> str:
    """One line for each rival; seconds by part, and what was computed."""
    head = ("", "ratio", "seconds", "spread", *PARTS, "else", "text tokens", "DiT tokens", "GFLOP", "of peak", "MiB")
    lines = []
    for rival, row in rows.items():
        tokens = row["tokens"]
        lines.append((
            rival, f"{row['ratio']:.2f}", f"{row['seconds']:.2f}", _spread(row["spread"]),
            *(f"{row['parts'][part]:.2f}" for part in (*PARTS, "else")), f"{tokens['text']:,}",
            f"{tokens['condition'] + tokens['denoising']:,}", *_arithmetic(row), "-" if row["memory"] is None else f"{row['memory'] / 2**20:.0f}",
        ))  # fmt: skip
    said = _markdown(head, lines)
    for rival in ("fast", "onnx"):
        if rival in rows:
            steps = ", ".join(f"{1000 * seconds:.1f}" for seconds in rows[rival]["step_seconds"])
            said += f"\n\nA denoising step of `{rival}`, in ms, by picture: {steps}."
    if "fast" in rows:
        flops = ", ".join(f"{each / 1e9:.2f}" for each in rows["fast"]["step_flops"])
        said += f"\n\nThe same in GFLOP: {flops}."
    alike = {rival: row["pixels"] for rival, row in rows.items() if not RIVALS[rival].few}
    furthest = max(row["mean"] for row in alike.values()), max(row["most"] for row in alike.values())
    said += (
        f"\n\nPixels differ from the first line's by {furthest[0]:.2f} of 255 on the average, by {furthest[1]} at most"
    )
    others = [f"by {row['pixels']['mean']:.2f} with {rival}" for rival, row in rows.items() if rival not in alike]
    return f"{said}{'; ' * bool(others)}{', '.join(others)}."


def _arithmetic(row: dict[str, Any]) -> tuple[str, str]:
    """GFLOP, and the share of the peak; "-" where operations weren't counted."""
    flops = sum(row["flops"].values())
    return (f"{flops / 1e9:.1f}", f"{row['share_of_peak']:.2f}") if row["flops"]["denoising"] else ("-", "-")


def _batch(rows: dict[str, Any]) -> str:
    head = ("", "ratio", "seconds", "spread", "pictures", "pictures a second", "of peak in denoising")
    return _markdown(head, [
        (
            way, f"{row['ratio']:.2f}", f"{row['seconds']:.1f}", _spread(row["spread"]), str(row["pictures"]),
            f"{row['pictures'] / row['seconds']:.1f}", f"{row['share_of_peak_denoising']:.2f}",
        )
        for way, row in rows.items()
    ])  # fmt: skip


def _spread(edges: Sequence[float]) -> str:
    return "-".join(f"{edge:.2f}" for edge in edges)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *lines))
