"""Who reads by ear, who holds a phone, who works in the dark: axe finds nothing in any view."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

import ingest
from tests.system.cluster.running import Cluster
from tests.system.page.browser import choose, ends_as, fits, run, visit, write_code

pytestmark = pytest.mark.xdist_group("cluster")

AXE = Path(ingest.__file__).parent / "page" / "node_modules" / "axe-core" / "axe.min.js"


def found_by_axe(page: Page) -> list[str]:
    """Everything that axe finds, with the rules on the size of targets."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run({rules: {'target-size': {enabled: true}}})")
    return [
        f"{violation['id']}: {node['html']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def accessible(page: Page) -> None:
    assert found_by_axe(page) == []
    assert fits(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 390)])
def test_every_view(browser: Browser, cluster: Cluster, scheme: Literal["light", "dark"], width: int) -> None:
    with visit(browser, str(cluster.http.base_url), scheme=scheme, width=width) as page:
        red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
        assert (int(red) + int(green) + int(blue) < 150) == (scheme == "dark")
        accessible(page)
        choose(page, "memory-limit")
        run(page)
        ends_as(page, "Run failed")
        expect(page.get_by_role("status")).to_contain_text("Run failed")
        expect(page.get_by_role("heading", name="Result")).to_be_in_viewport()
        accessible(page)
        page.get_by_role("link", name="History").click()
        expect(page.locator(".moment").last).to_contain_text("Finished")
        accessible(page)
        page.get_by_role("link", name="System").click()
        expect(page.locator(".uplot canvas")).to_have_count(6)
        page.get_by_role("row").nth(1).wait_for()
        accessible(page)


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1360), ("light", 820), ("light", 390)])
def test_judged_cases_and_drafts(
    browser: Browser, cluster: Cluster, scheme: Literal["light", "dark"], width: int
) -> None:
    cases = [{"input": word, "expected_output": "a", "points": 1} for word in ("a", "b")]
    id = cluster.submit({"compile": "echo 'main.py:1:2: old' >&2", "run": "cat", "test_cases": cases})
    with visit(browser, str(cluster.http.base_url), scheme=scheme, width=width) as page:
        write_code(page, "print('draft')")
        page.goto(f"/#/s/{id}")
        ends_as(page, "Wrong output, 1 of 2 passed")
        expect(page.get_by_role("region", name="Your runs")).to_contain_text("main.py")
        accessible(page)
        for tab in page.get_by_role("tablist", name="Parts of the submission").get_by_role("tab").all():
            tab.click()
            accessible(page)
