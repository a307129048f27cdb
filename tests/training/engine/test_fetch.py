"""Fetching: what is asked for, politely, within limits, and never from inside."""

from __future__ import annotations

import time

import pytest
from loopback import Answer, serving

from duogen.cli import run
from duogen.training.engine.config import FetchLimits
from duogen.training.engine.fetch import Fetcher
from duogen.training.engine.item import Dropped

QUICK = FetchLimits(seconds_between=0, timeout=2)


def answers(path: str, body: bytes) -> Answer:
    if path == "/robots.txt":
        return 200, {}, b"User-agent: *\nDisallow: /private\nCrawl-delay: 0"
    if path.startswith("/round"):
        return 302, {"location": f"/round{len(path)}"}, b""
    if path == "/inside":
        return 302, {"location": "http://169.254.169.254/latest"}, b""
    if path == "/once":
        return 301, {"location": "/page"}, b""
    if path == "/large":
        return 200, {}, b"x" * 200_000
    if path == "/slow":
        time.sleep(3)
    return (404, {}, b"") if path == "/none" else (200, {}, b"<p>hello</p>")


def test_what_is_allowed_is_fetched() -> None:
    with serving(answers) as url:
        fetcher = Fetcher(QUICK, inside=True)
        assert fetcher.page(f"{url}/page") == b"<p>hello</p>" == fetcher.page(f"{url}/once")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/private/page", "robots.txt"), ("/round", "more than 5 redirects"), ("/large", "more than 100,000 bytes"),
        ("/none", "answers 404"), ("/slow", "can't be reached"),
    ],
)  # fmt: skip
def test_what_is_not(path: str, why: str) -> None:
    with serving(answers) as url, pytest.raises(Dropped, match=why):
        Fetcher(QUICK, inside=True)(f"{url}{path}", 100_000)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://10.0.0.1/", "http://192.168.1.1:8080/", "http://169.254.169.254/",
        "http://0.0.0.0/", "http://2130706433/", "http://0x7f000001/", "http://[::ffff:127.0.0.1]/",
    ],
)  # fmt: skip
def test_nothing_inside_is_asked(address: str) -> None:
    with pytest.raises(Dropped, match=r"points inside|no such host"):
        Fetcher(QUICK).page(address)


@pytest.mark.parametrize(
    "address",
    ["ftp://x.example/", "file:///etc/passwd", "http://user@x.example/", "http://", "http://x.example:port/", "//x"],
)
def test_no_addresses(address: str) -> None:
    with pytest.raises(Dropped, match="no usable address"):
        Fetcher(QUICK).page(address)


def test_a_redirect_inside_is_not_followed() -> None:
    """The first server is allowed by name, as a public one would be; where it leads isn't."""

    class Once(Fetcher):
        def _addresses(self, host: str, port: int) -> list[str]:
            return ["127.0.0.1"] if host == "127.0.0.1" else super()._addresses(host, port)

    with serving(answers) as url, pytest.raises(Dropped, match="points inside"):
        Once(QUICK).page(f"{url}/inside")


def test_a_pause_between_requests() -> None:
    with serving(answers) as url:
        fetcher = Fetcher(FetchLimits(seconds_between=0.3), inside=True)
        fetcher.page(f"{url}/page")
        begin = time.monotonic()
        fetcher.page(f"{url}/page")
        assert time.monotonic() - begin >= 0.29


def test_a_server_in_trouble_allows_nothing() -> None:
    with serving(lambda path, body: (500, {}, b"")) as url, pytest.raises(Dropped, match=r"robots\.txt"):
        Fetcher(QUICK, inside=True).page(f"{url}/page")


def test_addresses_of_pages(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    import json
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "pages.txt").write_text("# pages\nhttp://127.0.0.1:9/page\n\n")
    assert run(["data", "web", str(folder / "pages.txt"), "--fetch", "-o", str(folder / "out"), "-q"]) == 1
    assert json.loads((folder / "out" / "manifest.jsonl").read_text())["reason"] == "127.0.0.1: points inside"
