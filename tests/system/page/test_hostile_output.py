"""Whatever programs print, write and are called: it stays text."""

import json

import pytest
from playwright.sync_api import Page, expect

from tests.system.cluster.running import Cluster
from tests.system.page.browser import ends_as, run_script

pytestmark = pytest.mark.xdist_group("cluster")

MARKUP = "<script>hacked = 1</script><img src=x onerror='hacked = 1'><svg onload='hacked = 1'>"
NAME = "<img src=x onerror=hacked=1>"
COLOUR, TITLE = r"\033[31mred\033[0m", r"\033]0;title\007"
LINK, BACKWARDS = r"\033]8;;http://x.example\033\\link\033]8;;\033\\", r"\342\200\256gnp.exe"
SCRIPT = rf"""
cat <<'END'
{MARKUP}
END
printf '{COLOUR} {TITLE} {LINK} {BACKWARDS} \010\r'
cat >&2 <<'END'
{MARKUP}
END
echo '<script>hacked = 1</script>' > '{NAME}.html'
echo '<svg xmlns="http://www.w3.org/2000/svg" onload="hacked = 1"></svg>' > drawing.svg
echo '<script>hacked = 1</script>' > page.png
printf '\211PNG\r\n\032\n<script>hacked = 1</script>' > broken.png
"""


def harmless(page: Page) -> None:
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("main script, main svg, main iframe, main object, main img").count() == 0
    assert len(page.context.pages) == 1


def test_what_a_program_prints_and_writes(page: Page) -> None:
    page.get_by_role("textbox", name="Run", exact=True).fill(SCRIPT)
    run_script(page, SCRIPT, "*.html *.svg *.png")
    ends_as(page, "OK")
    printed = page.get_by_role("group", name="Output of Run", exact=True)
    expect(printed).to_contain_text(MARKUP)
    expect(printed).to_contain_text("red  link [U+202E]gnp.exe ␈")
    expect(page.get_by_role("group", name="Error output of Run")).to_contain_text(MARKUP)
    files = page.get_by_role("list", name="Output files")
    expect(files).to_contain_text(f"{NAME}.html")
    expect(files).to_contain_text("Not an image, despite its name.")
    expect(files).to_contain_text("The image cannot be read.")
    for name in (f"{NAME}.html", "drawing.svg"):
        with page.expect_download() as saved:  # rather than shown
            page.get_by_role("button", name=f"Save {name}").click()
        assert saved.value.path().read_text().count("hacked") >= 1
    harmless(page)


def test_what_others_submitted(page: Page, cluster: Cluster) -> None:
    request = {
        "files": [{"name": NAME, "content": MARKUP}],
        "run": f"echo '{json.dumps(MARKUP)}'; exit 3",
        "dependencies": {"packages": [MARKUP]},
        "test_cases": [{"input": MARKUP, "expected_output": MARKUP}],
    }
    id = cluster.submit(request)
    page.goto(f"/#/s/{id}")
    ends_as(page, "Packages failed")
    expect(page.get_by_role("tab")).to_have_text(NAME)
    expect(page.locator(".result .error")).to_contain_text("<script>")
    harmless(page)
    page.goto(f"/#/s/{id}/history")
    expect(page.locator(".moment").last).to_contain_text("Finished")
    harmless(page)


def test_addresses_that_nobody_made(page: Page) -> None:
    for place in ("s/<img src=x onerror=hacked=1>", "s/../../docs", "nowhere/<script>%E0", "s/none/history"):
        page.goto(f"/#/{place}")
        page.locator("h1, h2").first.wait_for()
        harmless(page)
