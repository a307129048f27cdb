"""The page: what it does, without a browser; and, where there is a Chromium, in it."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio import Image

from duogen.agent.agent import Agent
from duogen.agent.worker import Worker
from duogen.document import Document, Picture
from duogen.serving.ui import Page, bubbles, launch, steps

REQUEST = "How do I build a small house with a red roof?"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def all_of(changes: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    async def host() -> list[dict[str, Any]]:
        return [dict(change) async for change in changes]

    return asyncio.run(host())


def test_a_plan_a_repaint_a_changed_step_and_a_follow_up(worker: Worker, tmp_path: Path, default_agent: Agent) -> None:
    page = Page(worker, tmp_path)
    shown = all_of(page.ask(REQUEST, None, None, 0, False, "me"))
    assert shown[0]["busy"] and shown[-1]["done"] and shown[-1]["status"] == "Done."
    place, document = shown[-1]["place"], shown[-1]["document"]
    assert document == default_agent.plan(REQUEST).document == Document.load(place)
    assert any("Painting picture 2" in change["status"] for change in shown)
    assert len(steps(document)) == len(document.images) and "roof" in steps(document)[-1]

    again = all_of(page.revise(2, None, str(place), 1, "me"))[-1]["document"]
    assert again.images[0] == document.images[0] and again.images[1].sha256 != document.images[1].sha256
    assert len(again.images) == len(document.images), "the plan goes on behind it"
    first = all_of(page.revise(2, None, str(place), 0, "me"))[-1]["document"]
    assert first == document, "with attempt 0 it is what it was"

    words = "Step 2: Add another row of four green blocks."
    changed = all_of(page.revise(2, words, str(place), 0, "me"))[-1]["document"]
    assert steps(changed)[1] == words and changed.images[1].sha256 != document.images[1].sha256

    more = all_of(page.ask("Now make the roof blue.", None, str(place), 0, False, "me"))[-1]["document"]
    assert len(more.messages) == 4 and (place / "plan.html").exists()


def test_stopped(worker: Worker, tmp_path: Path) -> None:
    page = Page(worker, tmp_path)

    async def host() -> dict[str, Any]:
        last: dict[str, Any] = {}
        async for change in page.ask("Teach me to draw a cat.", None, None, 0, False, "me"):
            last = change
            page.stop("you")  # another session's page
            if "picture 2" in change["status"]:
                page.stop("me")
        return last

    last = asyncio.run(host())
    assert last["status"] == "Stopped." and len(last["document"].images) < 6 and last["done"]


def test_a_page_that_is_closed_ends_its_run(worker: Worker, tmp_path: Path) -> None:
    page = Page(worker, tmp_path)

    async def host() -> None:
        changes = page.ask("Teach me to draw a cat.", None, None, 0, False, "me")
        async for change in changes:
            if "picture 1" in change["status"]:
                break
        await changes.aclose()  # type: ignore[attr-defined]
        for _ in range(500):
            await asyncio.sleep(0.01)
            if not worker.jobs:
                return
        raise AssertionError("it goes on")

    asyncio.run(host())


def test_what_cannot_be_done_is_said(worker: Worker, tmp_path: Path) -> None:
    page = Page(worker, tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    for changes, message in [
        (page.ask("  ", None, None, 0, False, "me"), "is empty"),
        (page.ask("Edit.", [str(tmp_path / "text.png")], None, 0, False, "me"), "not a readable"),
        (page.ask("x", None, None, -1, False, "me"), "greater than or equal to 0"),
        (page.ask("x", None, str(tmp_path / "gone"), 0, False, "me"), "can't read the plan"),
        (page.ask("x" * 30_000, None, None, 0, False, "me"), "30,000 characters"),
        (page.revise(None, None, None, 0, "me"), "no picture to change"),
    ]:
        assert message in all_of(changes)[-1]["status"]


def test_every_picture_has_an_alternative_text(picture: Picture, tmp_path: Path) -> None:
    document = Document()
    document.add_request("Look.", [picture])
    document.add_message("assistant")
    document.add_text("A step.")
    document.add_picture(picture, alt="A step.")
    document.add_picture(picture)
    document.write_pictures(tmp_path)
    images = [part for message in bubbles(document, tmp_path) for part in message["content"] if isinstance(part, Image)]
    assert [image.alt_text for image in images] == ["picture given by the user", "A step.", "picture"]


@pytest.fixture
def address(worker: Worker, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blocks = launch(worker, tmp_path, "127.0.0.1", port, wait=False)
    yield f"http://127.0.0.1:{port}/"
    blocks.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_in_chromium(address: str, tmp_path: Path) -> None:
    """A plan by keyboard, a repaint, a changed step, a download; nothing leaves the machine; and at a phone's width."""
    from playwright.sync_api import Page as Tab
    from playwright.sync_api import sync_playwright

    def wait_for(tab: Tab, status: str) -> None:
        tab.wait_for_function(f"document.querySelector('#status textarea').value == {status!r}", timeout=60_000)

    def pictures(tab: Tab) -> list[tuple[str, str]]:
        tab.wait_for_timeout(500)
        found = tab.evaluate("[...document.querySelectorAll('#talk img')].map(image => [image.src, image.alt])")
        return [(src, alt) for src, alt in found]

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], headless=True)
        tab = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True).new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(address)
        tab.get_by_label("Request").wait_for()
        tab.keyboard.type(REQUEST)  # the box has the focus
        tab.keyboard.press("Enter")
        wait_for(tab, "Done.")
        before = pictures(tab)
        assert len(before) == 4 and before[-1][1] == "4. Finish it with a red roof."

        tab.locator("#repaint").click()
        tab.wait_for_function("document.querySelector('#status textarea').value != 'Done.'")
        wait_for(tab, "Done.")
        repainted = pictures(tab)
        assert [src for src, _ in repainted[:-1]] == [src for src, _ in before[:-1]] and repainted[-1][0] != before[-1][
            0
        ]

        tab.locator("#step textarea").fill("Step 4: Finish it with a blue roof.")
        tab.locator("#change").click()
        tab.wait_for_function("document.querySelector('#status textarea').value != 'Done.'")
        wait_for(tab, "Done.")
        assert pictures(tab)[-1][1] == "Step 4: Finish it with a blue roof."

        with tab.expect_download() as download:
            tab.locator("#download").click()
        download.value.save_as(tmp_path / "got.html")
        page = (tmp_path / "got.html").read_text()
        assert "blue roof" in page and page.count("<img") == len(before)
        assert all(url.startswith((address, "data:", "blob:")) for url in asked), "it works offline"

        phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).new_page()
        phone.goto(address)
        phone.get_by_label("Request").fill("Draw a red ball in the centre.")
        phone.locator("#go").tap()
        wait_for(phone, "Done.")
        assert len(pictures(phone)) == 1
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()
