"""Debian's Chromium, driven as somebody would use the page."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ANSWER_MS = 120_000
"""Ten times what recovering from a kill takes."""
expect.set_options(timeout=ANSWER_MS)
_REFUSED = re.compile("^(?!Applying inline style).*Security Policy.*")
"""Chromium itself tries to give what is typed over a selection a style; that it may not does no harm."""


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # It refuses its own sandbox to root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser,
    url: str,
    *,
    width: int = 1360,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Page]:
    """A tab of its own, at `/`; nothing may fail in it, nor be refused by the Content-Security-Policy."""
    context = browser.new_context(
        base_url=url, viewport={"width": width, "height": height}, color_scheme=scheme
    )
    page = context.new_page()
    page.set_default_timeout(ANSWER_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.extend(_REFUSED.findall(said.text)))
    page.goto("/")
    yield page
    context.close()
    assert not faults, faults


def choose(page: Page, example: str) -> None:
    page.get_by_label("Examples").select_option(example)


def write_code(page: Page, code: str, name: str = "main.py") -> None:
    """Replace the content of a file whose tab is selected."""
    page.get_by_label(f"Content of {name}").click()
    page.keyboard.press("Control+A")
    page.keyboard.type(code)


def run(page: Page) -> str:
    """Click on Run; the id of the submission."""
    before = page.url
    page.get_by_role("button", name="Run", exact=False).first.click()
    page.wait_for_url(lambda url: url != before and "#/s/" in url)
    return page.url.rpartition("/")[2]


def ends_as(page: Page, words: str) -> None:
    """Wait until the submission ended, and ended so."""
    page.locator(".result .pill:not(.busy)").wait_for()
    assert page.locator(".result .pill").text_content() == words


def fits(page: Page) -> bool:
    """Whether nothing of it is beside the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def run_script(page: Page, script: str, outputs: str = "") -> str:
    """Run a script instead of what the form begins with; the id of the submission."""
    page.get_by_role("textbox", name="Run", exact=True).fill(script)
    page.get_by_label("Files to bring back").fill(outputs)
    page.get_by_label("compare the output").uncheck()
    return run(page)
