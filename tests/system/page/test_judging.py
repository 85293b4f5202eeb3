"""Test cases as a table of verdicts and scores, and places in the code as links."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.system.cluster.running import ANSWER_S, Cluster
from tests.system.page.browser import ends_as, fits, run, run_script
from topics.dependencies.steps import STEP, BuildProgress, BuildStep
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, encode

pytestmark = pytest.mark.xdist_group("cluster")

SCRIPT = 'read -r word; [ "$word" = fail ] && { echo "main.py: line 2: broken" >&2; exit 3; }; echo "$word"'
CASES = [
    {"input": "1.0", "expected_output": "1.0000001\n", "points": 1},
    {"input": "two", "expected_output": "three\n", "points": 2},
    {"input": "fail", "points": 4},
]
"""An accepted case, one with another output, and one whose program fails."""


def submit(cluster: Cluster, **more: object) -> str:
    request = {"files": [{"name": "main.py", "content": "a\nb\n"}], "run": SCRIPT, "test_cases": CASES}
    return cluster.submit({**request, "comparison": {"mode": "floats"}, **more})


def publish_step(cluster: Cluster, id: str, step: BuildStep) -> None:
    """What a cache builder publishes, as if one built the environment of a submission."""
    environment = cluster.stored(id).dependencies_id
    progress = encode(BuildProgress(attempt=1, builder="tests", step=step))
    headers = cloud_event(STEP, "tests", environment, "cache-builder/tests")
    producer = EventProducer(cluster.kafka)
    producer.produce(Record(cluster.topics.steps.name, environment, progress, headers)).result(ANSWER_S)
    producer.close()


def test_verdicts_and_scores(page: Page, cluster: Cluster) -> None:
    page.goto(f"/#/s/{submit(cluster)}")
    ends_as(page, "Run failed, 1 of 3 passed")
    table = page.get_by_role("table", name="Test cases")
    expect(table.locator(".case")).to_contain_text(["accepted", "wrong output", "runtime error"])
    expect(table.locator(".case .number:nth-child(3)")).to_have_text(["1 / 1", "0 / 2", "0 / 4"])
    expect(table.get_by_role("row", name="Sum")).to_contain_text("1 / 7")
    expect(page.get_by_role("group", name="Expected").locator("mark")).to_have_text("three\n")
    third = page.get_by_role("button", name="Test case 3", exact=True)
    expect(third).to_have_attribute("aria-expanded", "false")
    third.focus()
    page.keyboard.press("Enter")
    expect(third).to_have_attribute("aria-expanded", "true")
    page.get_by_role("button", name="main.py: line 2").click()
    expect(page.get_by_label("Content of main.py")).to_be_focused()
    expect(page.get_by_label("Compare outputs by")).to_have_value("floats")
    page.get_by_label("stop at the first failure").check()
    run(page)
    ends_as(page, "Wrong output, 1 of 3 passed")
    expect(table.locator(".case").last).to_contain_text("not run")


def test_a_compile_error_leads_to_its_line(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    code = page.get_by_label("Content of main.py")
    page.get_by_role("textbox", name="Compile").fill("echo 'main.py:3:5: error: no' >&2; exit 1")
    page.get_by_role("button", name="Run", exact=False).first.click()
    ends_as(page, "Compilation failed")
    tab = page.get_by_role("tab", name="Result")
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(code).to_be_hidden()
    page.get_by_role("button", name="main.py:3:5").click()
    expect(page.get_by_role("tab", name="Code")).to_have_attribute("aria-selected", "true")
    expect(code).to_be_focused()
    expect(page.locator(".cm-gutterElement.marked")).to_have_text("3")
    page.keyboard.type("here")
    expect(page.locator(".cm-line").nth(2)).to_contain_text("impohere")
    assert fits(page)


def test_tabs_of_a_phone_by_keyboard(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    tabs = page.get_by_role("tablist", name="Parts of the submission").get_by_role("tab")
    expect(tabs).to_have_text(["Code", "Packages", "Tests", "Result"])
    tabs.first.focus()
    for name, shown in (("Packages", "Add a package"), ("Tests", "Standard input")):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name=name)).to_be_focused()
        expect(page.get_by_role("tabpanel", name=name).get_by_label(shown)).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Code")).to_be_visible()
    page.get_by_role("tab", name="Tests").click()
    page.get_by_role("heading", name="Limits").click()
    page.get_by_label("Wall time, s").first.fill("1000")
    page.get_by_role("tab", name="Code").click()
    page.keyboard.press("Control+Enter")  # the refusal leads to its field
    expect(page.get_by_label("Wall time, s").first).to_be_focused()
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.get_by_role("tablist", name="Parts of the submission")).to_be_hidden()
    for heading in ("Commands", "Packages", "Test cases", "Result"):
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()


def test_the_result_is_beside_the_code(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    run_script(page, "echo beside")
    ends_as(page, "OK")
    printed = page.get_by_role("group", name="Output of Run", exact=True)
    expect(printed).to_be_in_viewport(ratio=1)  # though the page is scrolled to the test cases
    page.evaluate("scrollTo(0, 0)")
    expect(printed).to_be_in_viewport(ratio=1)
    expect(page.get_by_label("Content of main.py")).to_be_in_viewport()


def test_what_a_submission_waits_for(page: Page, cluster: Cluster) -> None:
    note = page.locator(".result-note")
    with cluster.paused("worker-0", "worker-1"):
        run_script(page, "echo waited")
        expect(note).to_contain_text(re.compile(r"Waiting for a worker: (you are next|\d+ before you)"))
    ends_as(page, "OK")
    with cluster.paused("cache-builder-0", "cache-builder-1"):
        page.get_by_label("Add a package").fill("tree")
        page.keyboard.press("Enter")
        run(page)
        expect(page.locator(".result .pill")).to_have_text("Installing packages…")
        expect(note).to_contain_text(re.compile(r"for \d+ (ms|s) so far"))
        publish_step(cluster, page.url.rsplit("/", 1)[1], BuildStep(stage="fetching", done=12, total=55))
        expect(note).to_contain_text("(fetching 12 of 55)")
        expect(page.get_by_role("list", name="Steps")).to_contain_text("fetching 12 of 55")
        page.get_by_role("button", name="Cancel").click()
        ends_as(page, "Cancelled")
