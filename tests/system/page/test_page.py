"""What one does on the page, by clicking and by keyboard alone."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from infra.kafka.ports import choose_free_port
from tests.support.polling import eventually
from tests.system.cluster.running import Cluster
from tests.system.page.browser import choose, ends_as, fits, run, run_script, visit

pytestmark = pytest.mark.xdist_group("cluster")


def test_numpy_by_clicking(page: Page, cluster: Cluster, browser: Browser) -> None:
    code = page.get_by_label("Content of main.py")
    code.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("import numpy\nprint(numpy.arange(int(input())).sum())\n")
    page.get_by_label("Standard input").fill("5\n")
    page.get_by_label("Expected output").fill("10\n")
    beside = {"PyPI": "words==1.0", "npm": "words@1.0.0", "Tags": "exercise=1 clicked"}
    page.get_by_role("heading", name="Tags and callback").click()
    for label, text in beside.items():
        page.get_by_label(label, exact=True).fill(text)
    id = run(page)
    ends_as(page, "OK")
    expect(page.get_by_role("group", name="Output of Run", exact=True)).to_have_text("10\n")
    expect(page.locator(".stage")).to_contain_text("passed")
    assert cluster.get(id)["outcome"] == "ok"
    with visit(browser, str(cluster.http.base_url)) as another:  # who was sent the link
        another.goto(f"/#/s/{id}")
        ends_as(another, "OK")
        expect(another.get_by_label("Content of main.py")).to_contain_text("numpy.arange")
        expect(another.get_by_label("Expected output")).to_have_value("10\n")
        for label, text in beside.items():
            expect(another.get_by_label(label, exact=True)).to_have_value(text)


def test_output_comes_while_the_program_runs_whatever_happens_to_ingest(page: Page, cluster: Cluster) -> None:
    page.get_by_role("heading", name="Limits").click()
    page.get_by_label("Wall time, s").first.fill("60")  # longer than ingest needs to be back, on any machine
    run_script(page, 'for i in 1 2 3; do echo "line $i"; sleep 2; done; sleep 50')
    printed = page.get_by_role("group", name="Output of Run", exact=True)
    expect(printed).to_contain_text("line 1\n")
    expect(page.locator(".result .pill")).to_have_text("Running")
    cluster.restarted("ingest-0", cluster.kill("ingest-0"))
    expect(printed).to_have_text("line 1\nline 2\nline 3\n")
    page.get_by_role("button", name="Cancel").click()
    ends_as(page, "Cancelled")


def test_wrong_output_beside_what_was_expected(page: Page) -> None:
    page.get_by_role("button", name="+ Add a test case").click()
    page.get_by_label("compare the output").nth(1).check()
    page.get_by_label("Standard input").nth(1).fill("0 1\n1 2\n")
    page.get_by_label("Expected output").nth(1).fill("y = 2.000 x + 1.000\n")
    run(page)
    ends_as(page, "Wrong output, 1 of 2 passed")
    expect(page.get_by_role("group", name="Printed").locator("mark")).to_have_text("y = 1.000 x + 1.000\n")


def test_what_is_refused_is_told_at_its_field(page: Page) -> None:
    page.get_by_role("heading", name="Limits").click()
    wall_time = page.get_by_label("Wall time, s").first
    wall_time.fill("1000")
    page.keyboard.press("Control+Enter")
    told = page.locator(".field", has=wall_time).locator(".field-error")
    expect(told).to_contain_text("at most 60")
    expect(wall_time).to_be_focused()
    wall_time.fill("9")
    page.get_by_label("npm", exact=True).fill("words@^1")
    page.keyboard.press("Control+Enter")
    told = page.locator(".field", has=page.get_by_label("npm", exact=True)).locator(".field-error")
    expect(told).to_contain_text("words@^1")
    page.get_by_label("npm", exact=True).fill("")
    page.get_by_label("Add a package").fill("python3-nmupy")
    page.keyboard.press("Enter")
    run(page)
    ends_as(page, "Packages failed")
    expect(page.locator(".result .error")).to_contain_text("python3-nmupy")
    expect(told).to_have_count(0)


def test_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
    tab = page.get_by_role("tab", selected=True)
    expect(tab).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.type("notes.txt")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Content of notes.txt")).to_be_focused()
    page.keyboard.type("hello")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    expect(tab).to_be_focused()
    expect(tab).to_have_text("notes.txt")
    page.keyboard.press("ArrowLeft")
    expect(tab).to_have_text("main.py")
    page.keyboard.press("End")
    page.keyboard.press("Delete")
    expect(page.get_by_role("tab")).to_have_count(1)
    page.get_by_role("combobox", name="Add a package").focus()
    page.keyboard.type("scipy scientific")
    expect(page.get_by_role("listbox", name="Packages").get_by_role("option").first).to_contain_text(
        "python3-scipy"
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove python3-scipy")).to_be_visible()
    page.get_by_role("button", name="Remove python3-scipy").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Enter")
    ends_as(page, "OK")


def test_history_and_system(page: Page) -> None:
    id = run(page)
    ends_as(page, "OK")
    page.get_by_role("link", name="History").click()
    moments = page.locator(".moment strong")
    expect(moments).to_have_text(["Requested", "Started by a worker", "Packages installed", "Finished"])
    page.get_by_role("link", name="System").click()
    expect(page.locator(".tile", has_text="Workers").locator("dd")).to_have_text("2")
    expect(page.locator(".uplot canvas")).to_have_count(6)
    expect(page.get_by_role("row", name=id)).to_contain_text("OK")


def test_a_plot_appears(page: Page, tmp_path: Path) -> None:
    choose(page, "plot")
    run(page)
    ends_as(page, "OK")
    plot = page.get_by_role("img", name="Output file plot.png")
    expect(plot).to_be_visible()
    assert plot.evaluate("image => image.decode().then(() => image.naturalWidth)") == 770
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save plot.png").click()
    saved.value.save_as(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def locked(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another ingest of the same system, that wants API keys."""
    url = f"http://127.0.0.1:{(port := choose_free_port())}"
    settings = {
        "HTTP_KEYS": "true",
        "HTTP_PORT": str(port),
        "DATA_DIR": str(tmp_path_factory.mktemp("locked")),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "ingest", "--instance", "locked"],
        env=on_broker(cluster, **settings),
    )
    try:
        eventually(lambda: answers(url), "it answers", 60)
        yield url
    finally:
        process.terminate()
        process.wait()


def on_broker(cluster: Cluster, **settings: str) -> dict[str, str]:
    ours = {"BOOTSTRAP_SERVERS": cluster.kafka.bootstrap_servers} | settings
    return cluster.environment | {f"ENVICUTOR_{name}": value for name, value in ours.items()}


def create_key(cluster: Cluster) -> str:
    """A key that may read its own submissions, without what is hidden."""
    command = [sys.executable, "-m", "infra.cli", "keys", "create", "tests"]
    return subprocess.check_output(command, env=on_broker(cluster), text=True).split()[-1]


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/submissions").status_code == httpx.codes.UNAUTHORIZED
    return False


def test_a_key_is_asked_for_and_kept_in_this_tab_only(
    browser: Browser, cluster: Cluster, locked: str
) -> None:
    key = create_key(cluster)
    kept = "Object.values(sessionStorage)"
    with visit(browser, locked) as page:
        page.keyboard.press("Control+Enter")
        for given in ("a-bad-key", key):
            page.get_by_label("API key", exact=True).fill(given)
            page.keyboard.press("Enter")
            expect(page.get_by_text("The key was refused")).to_be_visible(visible=given != key)
        ends_as(page, "OK")
        page.set_viewport_size({"width": 390, "height": 780})
        assert fits(page)
        assert key in page.evaluate(kept)
        assert key not in page.evaluate("JSON.stringify(localStorage)")
        assert page.context.cookies() == []
        page.get_by_role("link", name="System").click()
        expect(page.get_by_role("alert")).to_contain_text("scope")
        expect(page.get_by_role("row").nth(1)).to_contain_text("OK")
        expect(page.locator(".charts")).to_be_hidden()
        page.get_by_role("button", name="Forget key").click()
        page.wait_for_function(f"!{kept}.includes('{key}')")


def test_a_key_without_the_right_does_not_see_hidden_cases(
    browser: Browser, cluster: Cluster, locked: str
) -> None:
    key = create_key(cluster)
    request = {"run": "cat", "test_cases": [{"input": "open"}, {"input": "secret", "hidden": True}]}
    headers = {"Authorization": f"Bearer {key}"}
    submitted = httpx.post(f"{locked}/submissions", json=request, headers=headers, timeout=60)
    with visit(browser, locked) as page:
        page.goto(f"/#/s/{submitted.json()['id']}")
        page.get_by_label("API key", exact=True).fill(key)
        page.keyboard.press("Enter")
        ends_as(page, "OK, 2 of 2 passed")
        page.get_by_role("button", name="Test case 2", exact=True).click()
        expect(page.get_by_text("This test case is hidden")).to_be_visible()
        expect(page.locator(".case-head").last).to_contain_text("hidden")
        fields = "[...document.querySelectorAll('textarea, input')].map(field => field.value)"
        shown = page.evaluate(f"[document.body.textContent, ...{fields}].join()")
        assert "open" in shown
        assert "secret" not in shown


def test_another_name_of_this_machine_is_refused(cluster: Cluster) -> None:
    assert cluster.http.get("/", headers={"Host": "elsewhere.example"}).status_code == 421
