"""`make screenshots`: the page as docs/http.md shows it, from a system of its own."""

import shutil
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from infra.settings import LocalSettings
from tests.system.cluster.running import Cluster
from tests.system.page.browser import choose, chromium, ends_as, run, visit

FOLDER = Path(__file__).parents[3] / "docs" / "screenshots"
WIDE = 1440
LOAD_S = 40
"""How long the charts are watched."""


def shoot(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")


def shoot_system(browser: Browser, cluster: Cluster, url: str) -> None:
    with visit(browser, url, width=1280, height=720, scheme="dark") as page:
        page.goto("/#/system")
        for number in range(LOAD_S * 2):
            cluster.submit({"run": f"sleep 0.{number % 7}", "tags": [f"exercise={number % 3}"]})
            page.wait_for_timeout(500)
        shoot(page, "system")


def shoot_plot(browser: Browser, url: str) -> str:
    """Return the id of the submission with the plot."""
    with visit(browser, url, width=WIDE, height=900) as page:
        choose(page, "plot")
        run(page)
        ends_as(page, "OK")  # which was a build; the next is as all others are
        id = run(page)
        ends_as(page, "OK")
        page.get_by_role("img", name="Output file plot.png").wait_for()
        shoot(page, "run")
        return id


def shoot_judged(browser: Browser, url: str) -> None:
    with visit(browser, url, width=WIDE, height=900, scheme="dark") as page:
        choose(page, "cpp")
        for number, points in enumerate(("1", "2", "3")):
            page.get_by_label("Points").nth(number).fill(points)
        page.get_by_label("Expected output").first.fill("5\n")
        run(page)
        ends_as(page, "Wrong output, 2 of 3 passed")
        page.evaluate("scrollTo(0, 0)")
        shoot(page, "judged")


def shoot_narrow(browser: Browser, url: str, plot: str) -> None:
    sizes: list[tuple[str, int, int, Literal["light", "dark"]]] = [
        ("phone", 390, 780, "light"),
        ("tablet", 820, 1100, "dark"),
    ]
    for name, width, height, scheme in sizes:
        with visit(browser, url, width=width, height=height, scheme=scheme) as page:
            page.goto(f"/#/s/{plot}")
            ends_as(page, "OK")
            page.get_by_role("img", name="Output file plot.png").wait_for()
            page.evaluate("scrollTo(0, 0)")
            shoot(page, name)


def shoot_all(cluster: Cluster) -> None:
    url = str(cluster.http.base_url)
    with chromium() as browser:
        shoot_system(browser, cluster, url)
        shoot_judged(browser, url)
        shoot_narrow(browser, url, shoot_plot(browser, url))


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
