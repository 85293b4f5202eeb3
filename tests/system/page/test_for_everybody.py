"""Who reads by ear, who holds a phone, who works in the dark: axe finds nothing serious in any view."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

import ingest
from tests.system.cluster.running import Cluster
from tests.system.page.browser import choose, ends_as, fits, run, visit

pytestmark = pytest.mark.xdist_group("cluster")

AXE = Path(ingest.__file__).parent / "page" / "node_modules" / "axe-core" / "axe.min.js"


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody out."""
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{violation['id']}: {node['html']}"
        for violation in found["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 390)])
def test_every_view(browser: Browser, cluster: Cluster, scheme: Literal["light", "dark"], width: int) -> None:
    with visit(browser, str(cluster.http.base_url), scheme=scheme, width=width) as page:
        red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
        assert (int(red) + int(green) + int(blue) < 150) == (scheme == "dark")
        choose(page, "memory-limit")
        run(page)
        ends_as(page, "Run failed")
        expect(page.get_by_role("status")).to_contain_text("Run failed")
        expect(page.get_by_role("heading", name="Result")).to_be_in_viewport()
        assert serious(page) == []
        assert fits(page)
        page.get_by_role("link", name="History").click()
        expect(page.locator(".moment").last).to_contain_text("Finished")
        assert serious(page) == []
        assert fits(page)
        page.get_by_role("link", name="System").click()
        expect(page.locator(".uplot canvas")).to_have_count(6)
        page.get_by_role("row").nth(1).wait_for()
        assert serious(page) == []
        assert fits(page)
