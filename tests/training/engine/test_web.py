"""The web engine on a site whose planted faults are counted, and on input that is bad in other ways."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from duogen.cli import run
from duogen.document import read_jsonl

from .photos import encoded, photo
from .site import Truth, write_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("site")
    return folder, write_site(folder)


@pytest.fixture(scope="module")
def made(site: tuple[Path, Truth], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "out"
    assert run(["data", "web", str(site[0]), "-o", str(output), "-q"]) == 0
    return output


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A site of forty pages, and what comes of it."""
    folder = tmp_path_factory.mktemp("few")
    write_site(folder / "site", 40)
    assert run(["data", "web", str(folder / "site"), "-o", str(folder / "out"), "-q"]) == 0
    return folder / "site", folder / "out"


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return {record.get("url") or record["what"]: record for record in records}


def page(folder: Path, body: str, name: str = "page.html") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(
        f"<html><head><title>How to fold a paper boat</title></head><body><article>{body}</article></body></html>"
    )
    return path


TEXT = "<p>Fold the sheet in half and press the edge flat with a ruler, then turn it over and wait for 3 minutes before you go on.</p>"


def test_what_is_planted_goes_and_what_belongs_stays(site: tuple[Path, Truth], made: Path) -> None:
    """Printed by `pytest -s`: the shares that docs/data-engine.md tells."""
    truth, entries = site[1], manifest(made)
    kept = Counter(picture["sha256"] for entry in entries.values() for picture in entry.get("pictures", []))
    good = [sha256 for own in truth.good.values() for sha256, _ in own]
    stayed = sum(bool(kept[sha256]) for sha256 in good) / len(good)
    planted = Counter(kind for kind, _, _ in truth.bad)
    left = Counter(kind for kind, sha256, _ in truth.bad if kept[sha256])
    copies = sum(not entries[name]["kept"] for name in truth.copies)
    gone = 1 - (sum(left.values()) + len(truth.copies) - copies) / (len(truth.bad) + len(truth.copies))
    print(
        f"good pictures kept {stayed:.4f} of {len(good)}; planted items dropped {gone:.4f} of {len(truth.bad) + len(truth.copies)}, left {left}, copies gone {copies} of {len(truth.copies)}"
    )
    assert len(good) > 700 and stayed >= 0.95
    assert len(planted) == 8 and gone >= 0.95
    assert all(left[kind] <= 0.1 * count for kind, count in planted.items())


def test_pictures_stand_behind_their_text(site: tuple[Path, Truth], made: Path) -> None:
    truth, entries = site[1], manifest(made)
    documents = list(read_jsonl(made / "documents-00000.jsonl"))
    right = {True: [0, 0], False: [0, 0]}
    for name, own in truth.good.items():
        entry, words = entries[name], dict(own)
        text = ""
        for part in documents[entry["line"]].messages[-1].content if entry["kept"] else []:
            if part.type == "text":
                text = part.text.split("\n")[-1]
            elif part.sha256 in words:
                counts = right[name in truth.shuffled]
                counts[0] += words[part.sha256][:34] in text
                counts[1] += 1
    print(f"order right: {right[True]} out-of-order pages, {right[False]} others")
    assert right[True][1] > 80 and right[True][0] >= 0.95 * right[True][1]
    assert right[False][1] > 400 and right[False][0] >= 0.95 * right[False][1]


def test_no_injection_comes_through(site: tuple[Path, Truth], made: Path) -> None:
    said = (made / "documents-00000.jsonl").read_text()
    assert len(site[1].secrets) >= 90
    assert not [secret for secret in site[1].secrets if secret in said]


def test_every_item_is_accounted_for(site: tuple[Path, Truth], made: Path) -> None:
    entries = manifest(made)
    assert len(entries) == 200 and all(entry["kept"] or entry["reason"] for entry in entries.values())
    counts = json.loads((made / "counts.json").read_text())
    assert counts["items"] == 200 and counts["kept"] == sum(entry["kept"] for entry in entries.values())
    for row, after in zip(counts["steps"], counts["steps"][1:], strict=False):
        assert row["in"] - sum(row["dropped"].values()) == row["out"] == after["in"]
    report = (made / "report.html").read_text()
    assert "data:image/png" in report and "CC BY-SA 4.0" in report and "QR codes take" in report
    assert "CC BY-SA 4.0: " in (made / "datasheet.md").read_text()


def test_a_report_is_printed(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "report", str(made)]) == 0
    out = capsys.readouterr().out
    assert "of 200 items" in out and out.strip().endswith("report.html")
    assert run(["data", "report", str(made / "pictures")]) == 2
    assert "no manifest" in capsys.readouterr().err


def tree(folder: Path) -> dict[str, str]:
    """All that a run hands out, by hash."""
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and "work" not in path.relative_to(folder).parts
    ]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_killed_five_times_and_resumed(few: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "duogen.cli", "data", "web", str(few[0]), "-o", str(output), "-q"]
    marks = [("begun", 6), ("begun", 16), ("begun", 30), ("finished", 8), ("finished", 24)]
    for turn, (journal, records) in enumerate(marks):
        path = output / "work" / f"{journal}.jsonl"
        process = subprocess.Popen(
            [*command, *(["--resume"] if turn else [])], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 240
        while not path.exists() or path.read_bytes().count(b"\n") < records:
            assert process.poll() is None and time.monotonic() < end, process.stderr and process.stderr.read()
            time.sleep(0.02)
        process.kill()
        process.communicate()
        with open(path, "ab") as torn:
            torn.write(b'{"number": 1, "dr')
    assert run([*command[3:], "--resume"]) == 0
    assert tree(output) == tree(few[1]) and len(tree(output)) > 100


@pytest.mark.parametrize("options", [["--workers", "2"], ["--engine", "ray", "--workers", "2"]])
def test_other_engines_give_the_same(few: tuple[Path, Path], tmp_path: Path, options: list[str]) -> None:
    assert run(["data", "web", str(few[0]), "-o", str(tmp_path / "out"), "-q", *options]) == 0
    assert tree(tmp_path / "out") == tree(few[1])


def test_folders_are_not_mixed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    page(tmp_path / "in", TEXT + '<p><img src="a.jpg" alt="a folded sheet"></p>')
    (tmp_path / "in" / "a.jpg").write_bytes(encoded(photo(1)))
    (tmp_path / "loose.toml").write_text("[documents]\nmin_score = 0.1\n")
    arguments = [
        "data",
        "web",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "-q",
        "-c",
        str(tmp_path / "loose.toml"),
    ]
    assert run(arguments) == 0
    assert run(arguments) == 2 and "--resume" in capsys.readouterr().err
    assert run([*arguments, "--resume"]) == 0
    assert run(["data", "web", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--resume"]) == 2
    assert "other sources or settings" in capsys.readouterr().err
    assert run(["data", "web", str(tmp_path / "in"), "-o", str(tmp_path), "-q"]) == 2
    assert "something else" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[text]\nmin_wrods = 3", "text.min_wrods"),
        ("[pictures]\nmax_qr = 3", "pictures.max_qr"),
        ("[text", "not a TOML file"),
    ],
)
def test_wrong_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, said: str) -> None:
    (tmp_path / "c.toml").write_text(settings)
    page(tmp_path, TEXT)
    assert (
        run(["data", "web", str(tmp_path / "page.html"), "-o", str(tmp_path / "o"), "-c", str(tmp_path / "c.toml")])
        == 2
    )
    assert said in capsys.readouterr().err


def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in [
        ([str(tmp_path / "none.html")], "no such file"),
        ([str(tmp_path / "a.doc")], "neither HTML"),
        ([str(tmp_path / "a.txt")], "--fetch"),
        ([str(tmp_path), "--engine", "spark"], "local or ray"),
        ([str(tmp_path), "--workers", "9999"], "four a core"),
        ([str(tmp_path), "--llm-url", "http://localhost:1/v1"], "which model"),
    ]:
        (tmp_path / "a.doc").write_text("x")
        (tmp_path / "a.txt").write_text("http://x.example/")
        assert run(["data", "web", *arguments, "-o", str(tmp_path / "o")]) == 2
        assert said in capsys.readouterr().err


def bomb() -> bytes:
    """A picture of a few thousand bytes that unpacks to 400 million."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 19_999)).save(buffer, "PNG")
    return buffer.getvalue()


def test_bad_pages_and_pictures_cost_a_line_each(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good = encoded(photo(2))
    names = {
        "good.jpg": good,
        "bomb.png": bomb(),
        "torn.jpg": good[: len(good) // 3],
        "none.png": b"",
        "no.png": b"\x89PNG\r\n\x1a\nrubbish",
        "p.svg": b"<svg/>",
    }
    pictures = "".join(
        f'<p><img src="{name}" alt="the folded sheet {name[0]}"></p>'
        for name in [*names, "gone.jpg", "../../etc/passwd", "%00", "data:image/png;base64,@@"]
    )
    page(folder, TEXT * 3 + pictures)
    for name, data in names.items():
        (folder / name).write_bytes(data)
    with open(folder / "huge.html", "wb") as huge:
        huge.truncate(1_000_000_000)
    (folder / "empty.html").write_bytes(b"")
    (folder / "binary.html").write_bytes(bytes(range(256)) * 20)
    (folder / "bare.html").write_text("<html><body></body></html>")
    page(
        folder,
        "<p>Zuerst wird das Blatt in der Mitte gefaltet, dann streicht man die Kante mit dem Lineal glatt und dreht es um. Danach klebt man "
        "beide Seiten zusammen, wartet eine Weile und schneidet am Ende die Ecken ab, damit das Boot im Wasser gut liegen kann.</p>",
        "german.html",
    )
    page(folder, "<p>" + "Short.</p>", "short.html")
    output = tmp_path / "out"
    assert run(["data", "web", str(folder), "-o", str(output), "-q"]) == 0
    entries = manifest(output)
    assert len(entries) == 7
    reasons = {name: entry["reason"] for name, entry in entries.items() if not entry["kept"]}
    assert reasons["huge.html"] == "the page has 1,000,000,000 bytes, more than 10,000,000"
    assert reasons["german.html"] == "its language is de"
    assert set(reasons) == {"huge.html", "empty.html", "binary.html", "bare.html", "german.html", "short.html"}
    assert all("\n" not in reason and len(reason) < 200 for reason in reasons.values())
    lost = {loss["what"]: loss["reason"] for loss in entries["page.html"]["losses"] if loss["step"] == "pictures"}
    assert len(lost) == 9 and "400" not in lost["torn.jpg"]
    assert lost["bomb.png"] == "more than the 64,000,000 pixels allowed"
    assert lost["gone.jpg"] == "not on disk" and lost["../../etc/passwd"] == "outside of the folder"
    assert [picture["sha256"] for picture in entries["page.html"]["pictures"]] == [hashlib.sha256(good).hexdigest()]


def test_nothing_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page(tmp_path / "in", TEXT * 2)
    assert run(["data", "web", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-q"]) == 1
    assert "nothing was kept" in capsys.readouterr().err
    assert manifest(tmp_path / "out")["page.html"]["reason"].startswith("0 pictures are left")


def archive(path: Path, site: Path) -> bytes:
    """A WARC of some of the site's pages with all that is beside them."""
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=True)
        for each in sorted(
            (path for path in (site / "00").iterdir() if path.is_file()),
            key=lambda path: (path.suffix != ".html", path),
        ):
            kind = "text/html" if each.suffix == ".html" else "image/jpeg"
            headers = StatusAndHeaders("200 OK", [("Content-Type", kind)], protocol="HTTP/1.1")
            writer.write_record(
                writer.create_warc_record(
                    f"https://workshop.example/00/{each.name}",
                    "response",
                    payload=io.BytesIO(each.read_bytes()),
                    http_headers=headers,
                )
            )
    return path.read_bytes()


def test_archives(site: tuple[Path, Truth], made: Path, tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.warc.gz", site[0])
    (tmp_path / "b.warc.gz").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "c.warc").write_bytes(gzip.decompress(whole)[:50_000] + b"\0" * 100)
    (tmp_path / "d.warc.gz").write_bytes(b"no archive")
    assert run(["data", "web", str(tmp_path / "a.warc.gz"), "-o", str(tmp_path / "one"), "-q"]) == 0
    one, files = manifest(tmp_path / "one"), manifest(made)
    kept = {
        name.rpartition("/")[2]: [picture["sha256"] for picture in entry["pictures"]]
        for name, entry in one.items()
        if entry["kept"]
    }
    assert len(kept) >= 18
    # The site's furniture is on too few of these pages to be known as such; all else is what it was on disk.
    for name, own in kept.items():
        entry = files[f"00/{name}"]
        assert (
            not entry["kept"]
            or len({picture["sha256"] for picture in entry["pictures"]} & set(own)) >= len(entry["pictures"]) - 1
        )
    assert (
        run(
            [
                "data",
                "web",
                *(str(tmp_path / f"{n}") for n in ("b.warc.gz", "c.warc", "d.warc.gz")),
                "-o",
                str(tmp_path / "two"),
                "-q",
            ]
        )
        == 0
    )
    two = [json.loads(line) for line in (tmp_path / "two" / "manifest.jsonl").read_text().splitlines()]
    unread = [entry for entry in two if "number" not in entry]
    assert {Path(entry["what"]).name for entry in unread} >= {"b.warc.gz", "d.warc.gz"}
    assert len(unread) == 3 and all("archive" in entry["reason"] and "\n" not in entry["reason"] for entry in unread)
    assert sum(entry["kept"] for entry in two) >= 5


def test_the_engine_runs_without_torch() -> None:
    modules = "web run report video records prompts"
    code = (
        "import sys\n"
        + "\n".join(f"import duogen.training.engine.{name}" for name in modules.split())
        + "\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
