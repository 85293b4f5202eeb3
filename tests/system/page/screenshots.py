"""`make screenshots`: the page as docs/http.md shows it, from a system of its own."""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from infra.settings import LocalSettings
from tests.system.cluster.running import Cluster
from tests.system.page.browser import choose, chromium, ends_as, run, visit

FOLDER = Path(__file__).parents[3] / "docs" / "screenshots"
LOAD_S = 40
"""How long the charts are watched."""


def shoot(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")


def shoot_all(cluster: Cluster) -> None:
    url = str(cluster.http.base_url)
    with chromium() as browser:
        with visit(browser, url, width=1280, height=720, scheme="dark") as page:
            page.goto("/#/system")
            for number in range(LOAD_S * 2):
                cluster.submit({"run": f"sleep 0.{number % 7}", "tags": [f"exercise={number % 3}"]})
                page.wait_for_timeout(500)
            shoot(page, "system")
        with visit(browser, url, width=1280, height=800) as page:
            choose(page, "plot")
            run(page)
            ends_as(page, "OK")  # which was a build; the next is as all others are
            id = run(page)
            ends_as(page, "OK")
            page.get_by_role("img", name="Output file plot.png").wait_for()
            shoot(page, "run")
        with visit(browser, url, width=390, height=780) as page:
            page.goto(f"/#/s/{id}")
            ends_as(page, "OK")
            page.get_by_role("img", name="Output file plot.png").wait_for()
            page.get_by_role("heading", name="Result").evaluate("heading => heading.scrollIntoView()")
            page.evaluate("scrollBy(0, -80)")
            shoot(page, "phone")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-screenshots-"))
    folder.chmod(0o755)
    FOLDER.mkdir(exist_ok=True)
    cluster = Cluster(folder, LocalSettings().cache_dir, "--workers", "2")
    try:
        cluster.start()
        shoot_all(cluster)
    finally:
        cluster.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
