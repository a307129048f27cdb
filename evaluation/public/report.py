"""The report of a benchmark: JSON with every answer's scores, Markdown, and an HTML page with samples."""

from __future__ import annotations

import html
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from duogen import __version__
from duogen.document import Picture, write_atomically
from duogen.errors import InputError
from duogen.evaluation.markup import img, whole_page
from duogen.evaluation.public.item import Benchmark, Question, read_json, write_json
from duogen.evaluation.public.statistics import Against, Agreement, Metric, Scored, compare, estimate, interval

SAMPLES = 12
PACKAGES = ("torch", "transformers", "diffusers")
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1.25rem; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #8884; }
td.n { font-variant-numeric: tabular-nums; } section { border-top: 1px solid #8886; padding: 1rem 0; }
h3 { font-size: 1rem; margin: 0 0 .5rem; } h3 small { font-weight: 400; color: #8a8a8a; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; } .row > * { max-width: 15rem; }
img { width: 100%; min-width: 8rem; height: auto; border-radius: 6px; } p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.asked { border-left: 4px solid #8886; padding-left: .6rem; margin-bottom: .6rem; } ul { padding-left: 1.2rem; }
""".strip()


def build(
    benchmark: Benchmark,
    scored: Sequence[Scored],
    facts: dict[str, Any],
    missing: int,
    agreed: dict[str, Agreement],
    people: dict[str, Against],
) -> dict[str, Any]:
    """All of it, as JSON; without a date or a duration, so that a run that was interrupted leaves the same.

    Args:
        facts: settings of generating and scoring, by name.
        missing: how many answers weren't there.
        agreed, people: the judge's votes among each other, and beside people's, by criterion.
    """
    digits = benchmark.digits if facts["scoring"].get("as_published") else None
    return {
        "benchmark": benchmark.name, "title": benchmark.title, "subset": benchmark.subset, "model": benchmark.model,
        "source": benchmark.source, "remarks": list(benchmark.remarks),
        "versions": {"duogen": __version__} | {name: version(name) for name in PACKAGES},
        **facts,
        "answers": {
            "scored": sum(bool(each.values) for each in scored), "unjudged": sum(not each.values for each in scored),
            "missing": missing,
        },
        "metrics": [row for metric in benchmark.metrics if (row := _row(scored, metric, digits)) is not None],
        "self_consistency": {name: asdict(each) for name, each in agreed.items()},
        "against_people": {name: asdict(each) for name, each in people.items()},
        "published": published(benchmark.name, benchmark.subset),
        "items": [asdict(each) for each in scored],
    }  # fmt: skip


def _row(scored: Sequence[Scored], metric: Metric, digits: int | None) -> dict[str, Any] | None:
    value = estimate(scored, metric, digits)
    if value is None:
        return None
    over = [each for each in metric.over(scored) if any(key in each.values for key in metric.keys)]
    low, high = interval(scored, metric) or (None, None)
    return {"name": metric.name, "value": value, "low": low, "high": high, "of": metric.most, "answers": len(over)}


def published(name: str, subset: str = "") -> list[dict[str, Any]]:
    """Figures that others have published for a benchmark."""
    text = files("duogen.evaluation.public").joinpath("published.toml").read_text("utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text).get(name, [])
    return [row for row in rows if row.get("subset", subset) == subset]


def tables(report: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """The report's tables: a heading, and rows of which the first is the head."""
    own = [["", "score", "95 % interval", "of", "answers"]] + [
        [
            row["name"],
            f"{row['value']:.3f}",
            _between(row["low"], row["high"]),
            f"{row['of']:g}",
            str(row["answers"]),
        ]
        for row in report["metrics"]
    ]
    scores = {row["name"]: row for row in report["metrics"]}
    beside = [["model", "score", "figure", "source"]] + [
        [row["model"], row["metric"], f"{row['value']:g}", row["source"]] for row in report["published"]
    ]
    for name in dict.fromkeys(row["metric"] for row in report["published"]):
        if name in scores:
            beside.append([f"{report['model']} (this run)", name, f"{scores[name]['value']:.3f}", "this report"])
    found = [("Scores", own)]
    if report["published"]:
        found.append(("Beside published figures", beside))
    for heading, part in (
        ("Votes of one judge among each other", "self_consistency"),
        ("The judge against people", "against_people"),
    ):
        if by_criterion := report[part]:
            names = list(next(iter(by_criterion.values())))
            rows = [[name, *(_number(of[each]) for each in names)] for name, of in by_criterion.items()]
            found.append((heading, [["", *(name.replace("_", " ") for name in names)], *rows]))
    generation, scoring = report["generation"], report["scoring"]
    settings = {
        "subset": report["subset"] or "all", **report["versions"],
        **{f"answers: {key}": value for key, value in generation.items() if key != "painting"},
        **{f"painting: {key}": value for key, value in generation.get("painting", {}).items()},
        **{f"scoring: {key}": value for key, value in scoring.items()},
    }  # fmt: skip
    return [*found, ("Settings", _facts(settings))]


def _number(value: object) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _between(low: float | None, high: float | None, sign: str = "", word: str = "-") -> str:
    """An interval; a dash where there are too few questions for one."""
    return "-" if low is None or high is None else f"{low:{sign}.3f}{word}{high:{sign}.3f}"


def _facts(facts: dict[str, Any]) -> list[list[str]]:
    rows = [[key.replace("_", " "), _number(value)] for key, value in facts.items()]
    return [["", ""], *rows]


def warnings(report: dict[str, Any]) -> list[str]:
    """What a reader must not overlook."""
    counts, scoring = report["answers"], report["scoring"]
    said = []
    if counts["missing"]:
        said.append(f"{counts['missing']} answers weren't there and aren't scored.")
    if counts["unjudged"]:
        said.append(
            f"{counts['unjudged']} answers have no score: the judge gave none that could be read. They count in no mean."
        )
    if scoring.get("malformed"):
        said.append(f"{scoring['malformed']} answers of the judge weren't of the schema and were asked for again.")
    if scoring.get("as_published"):
        said.append("As published: with the defects of the authors' scorer, for comparison with old tables.")
    if (rewriter := report["generation"].get("prompt_rewriting")) is not None:
        said.append(f"Prompts were rewritten by {rewriter}; published figures without that are lower.")
    return said


def markdown(report: dict[str, Any]) -> str:
    lines = [f"# {report['title']}: {report['model']}", "", f"After {report['source']}.", ""]
    lines += [f"- {said}" for said in [*warnings(report), *report["remarks"]]]
    for heading, rows in tables(report):
        lines += ["", f"## {heading}", "", _markdown_row(rows[0]), _markdown_row(["---"] * len(rows[0]))]
        lines += [_markdown_row(row) for row in rows[1:]]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(report: dict[str, Any], benchmark: Benchmark, questions: Sequence[Question], scored: Sequence[Scored]) -> str:
    """The same as a page, with answers: the worst, the best, and some between."""
    known = {question.id: question for question in questions}
    body = [f"<h1>{html.escape(report['title'])}: {html.escape(report['model'])}</h1>"]
    body.append(f"<p>After {html.escape(report['source'])}.</p>")
    said = [*warnings(report), *report["remarks"]]
    body.append("<ul>" + "".join(f"<li>{html.escape(each)}</li>" for each in said) + "</ul>")
    for heading, rows in tables(report):
        body.append(f"<h2>{html.escape(heading)}</h2><table>")
        body += ["<tr>" + "".join(f'<td class="n">{html.escape(cell)}</td>' for cell in row) + "</tr>" for row in rows]
        body.append("</table>")
    body.append("<h2>Answers</h2>")
    for each in _chosen(scored, benchmark.metrics[0].keys):
        body.append(_section(known[each.id], each, benchmark))
    return whole_page(report["title"], _STYLE, "\n".join(body))


def _chosen(scored: Sequence[Scored], keys: Sequence[str]) -> list[Scored]:
    """From the best to the worst, in even steps; those without a score come last."""

    def worth(each: Scored) -> tuple[bool, float]:
        own = [each.values[key] for key in keys if key in each.values]
        return (not own, -sum(own))

    ordered = sorted(scored, key=worth)
    count = min(SAMPLES, len(ordered))
    return [ordered[place * (len(ordered) - 1) // max(1, count - 1)] for place in range(count)]


def _section(question: Question, each: Scored, benchmark: Benchmark) -> str:
    values = ", ".join(f"{key} {value:.2f}" for key, value in each.values.items()) or "no score"
    said = "; ".join([values, each.notes, *each.faults]).rstrip("; ")
    parts = {"asked": question.asked, "": benchmark.read(question, each.sample)}
    rows = [
        f'<div class="row {kind}">' + "".join(_shown(part) for part in shown) + "</div>"
        for kind, shown in parts.items()
    ]
    heading = f"<h3>{html.escape(f'{question.group} {each.id}/{each.sample}'.strip())} <small>{html.escape(said)}</small></h3>"
    return f"<section>{heading}{''.join(rows)}</section>"


def _shown(part: str | Picture) -> str:
    if isinstance(part, str):
        return f"<p>{html.escape(part.strip())}</p>" if part.strip() else ""
    image = part.image()
    image.thumbnail((320, 320))
    return f"<div>{img(image)}</div>"


def write(
    folder: Path, report: dict[str, Any], benchmark: Benchmark, questions: Sequence[Question], scored: Sequence[Scored]
) -> None:
    """Writes ``report.json``, ``report.md`` and ``report.html``."""
    write_json(folder / "report.json", report)
    write_atomically(folder / "report.md", markdown(report).encode())
    write_atomically(folder / "report.html", page(report, benchmark, questions, scored).encode())


def compared(first: dict[str, Any], second: dict[str, Any], metrics: Sequence[Metric]) -> list[list[str]]:
    """Two reports of one benchmark side by side, on the questions that both have, as rows of which the first is the head.

    Raises:
        InputError: they are of two benchmarks, or have no question in common.
    """
    if (first["benchmark"], first["subset"]) != (second["benchmark"], second["subset"]):
        told = " and ".join(f"{each['benchmark']} {each['subset']}".strip() for each in (first, second))
        raise InputError(f"these are reports of {told}; only one benchmark can be compared")
    own, other = (scored_in(each) for each in (first, second))
    rows = [["", "A", "B", "B - A", "95 % interval", "p", "questions", ""]]
    for metric in metrics:
        found = compare(own, other, metric)
        if found is not None:
            rows.append([
                metric.name, f"{found.one:.3f}", f"{found.two:.3f}", f"{found.difference:+.3f}",
                _between(found.low, found.high, "+", " to "), f"{found.p:.4f}", str(found.questions),
                "significant" if found.p < 0.05 else "may be chance",
            ])  # fmt: skip
    if len(rows) == 1:
        raise InputError("the two reports have no question in common that both have scored")
    return rows


def otherwise(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Settings of scoring in which two reports differ, a line each."""
    counts = ("calls", "malformed", "failed")
    one, two = ({key: value for key, value in each["scoring"].items() if key not in counts} for each in (first, second))
    return [
        f"{key}: {one.get(key)} in A, {two.get(key)} in B" for key in {**one, **two} if one.get(key) != two.get(key)
    ]


def load(path: Path) -> dict[str, Any]:
    """A report, by its file or its folder; raises `InputError` where it is none."""
    path = path / "report.json" if path.is_dir() else path
    report = read_json(path)
    wanted = {"benchmark", "items", "subset", "model", "scoring"}
    if not isinstance(report, dict) or not wanted <= set(report) or not isinstance(report["benchmark"], str):
        raise InputError(f"{path}: not a report of duogen eval")
    try:
        scored_in(report)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: its items aren't scores of duogen eval ({type(error).__name__}: {error})") from error
    return report


def scored_in(report: dict[str, Any]) -> list[Scored]:
    fields = ("subsets", "votes", "faults")
    return [
        Scored(**{
            **each, **{name: tuple(each[name]) for name in fields},
            "values": {key: float(value) for key, value in each["values"].items()},
        })
        for each in report["items"]
    ]  # fmt: skip
