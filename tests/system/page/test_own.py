"""What the browser keeps: drafts, also of several tabs, and the user's own runs; and how drafts begin."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.polling import eventually
from tests.system.cluster.running import Cluster
from tests.system.page.browser import choose, ends_as, run, run_script, write_code

pytestmark = pytest.mark.xdist_group("cluster")

SUBMIT = re.compile(r"/submissions\?interactive")
KEEP_S = 10
"""Time within which a draft is kept: many times the pause of 0.2 s after the first change."""


def another_tab(page: Page) -> Page:
    opened = page.context.new_page()
    opened.goto("/")
    return opened


def kept_drafts(page: Page) -> str:
    return str(page.evaluate("JSON.stringify(localStorage)"))


def run_unanswered(page: Page) -> Callable[[], None]:
    """Click on Run; the server gets the request only when the result is called."""
    requests: list[Route] = []

    def hold(route: Route) -> None:
        requests.append(route)

    page.route(SUBMIT, hold)
    with page.expect_request(SUBMIT):
        page.get_by_role("button", name="Run", exact=False).first.click()
    eventually(lambda: page.evaluate("true") and requests, "the request is held", KEEP_S)
    return requests[0].continue_


def test_a_closed_tab_loses_nothing(page: Page) -> None:
    write_code(page, "first = 1")
    opened = another_tab(page)
    page.close()
    expect(opened.get_by_label("Content of main.py")).to_contain_text("first = 1")
    opened.reload()
    expect(opened.get_by_label("Content of main.py")).to_contain_text("first = 1")


def test_two_tabs_keep_two_drafts(page: Page) -> None:
    write_code(page, "of_both = 1")
    eventually(lambda: "of_both" in kept_drafts(page), "the draft is kept", KEEP_S)
    opened = another_tab(page)
    write_code(opened, "of_the_second = 1")
    eventually(lambda: "of_the_second" in kept_drafts(page), "the draft is kept", KEEP_S)
    write_code(page, "of_the_first = 1")
    expect(page.locator(".notice-line")).to_contain_text("Another tab changed this draft")
    eventually(lambda: "of_the_first" in kept_drafts(page), "the draft is kept", KEEP_S)
    assert "of_the_second" in kept_drafts(page)
    opened.reload()
    expect(opened.get_by_label("Content of main.py")).to_contain_text("of_the_second")
    opened.get_by_role("button", name="Open the draft main.py").click()
    expect(opened.get_by_label("Content of main.py")).to_contain_text("of_the_first")


def test_a_language_is_a_program_with_its_packages(page: Page, cluster: Cluster) -> None:
    language = page.get_by_label("Language")
    language.select_option("lua")
    expect(page.locator(".notice-line")).to_be_hidden()  # since the example was not changed
    expect(page.get_by_role("tab")).to_have_text("main.lua")
    id = run(page)
    ends_as(page, "OK")
    expect(page.get_by_role("group", name="Output of Run", exact=True)).to_contain_text("Hello, world!")
    assert cluster.http.get(f"/submissions/{id}/request").json()["language"] == "lua"
    own = page.get_by_role("region", name="Your runs").get_by_role("listitem")
    expect(own).to_contain_text(["Lua"])
    write_code(page, "print('mine')", "main.lua")
    language.select_option("python")
    expect(page.get_by_label("Content of main.py")).to_contain_text("Hello")
    page.get_by_role("button", name="Go back to it").click()
    expect(page.get_by_label("Content of main.lua")).to_contain_text("print('mine')")
    expect(language).to_have_value("lua")


def test_a_server_without_languages_has_examples(page: Page) -> None:
    page.route("**/languages", lambda route: route.fulfill(status=503, json={"detail": "unavailable"}))
    page.reload()
    choose(page, "java")
    expect(page.get_by_role("tab")).to_have_text("Main.java")
    expect(page.get_by_label("Language")).to_be_hidden()


def test_edits_while_the_server_accepts_a_program_are_kept(page: Page) -> None:
    answer = run_unanswered(page)
    write_code(page, "edited = 1")
    eventually(lambda: "edited" in kept_drafts(page), "the draft is kept", KEEP_S)
    answer()
    page.wait_for_url("**/#/s/*")
    page.get_by_label("Language").select_option("lua")
    page.get_by_role("button", name="Go back to it").click()
    expect(page.get_by_label("Content of main.py")).to_contain_text("edited = 1")


def test_another_draft_is_not_what_the_server_accepts(page: Page) -> None:
    answer = run_unanswered(page)
    page.get_by_label("Language").select_option("lua")
    write_code(page, "edited = 1", "main.lua")
    answer()
    expect(page.get_by_role("region", name="Your runs").get_by_role("listitem")).to_have_count(1)
    page.get_by_label("Language").select_option("python")
    page.get_by_role("button", name="Go back to it").click()
    expect(page.get_by_label("Content of main.lua")).to_contain_text("edited = 1")


def test_own_runs_are_listed_and_open_again(page: Page) -> None:
    id = run_script(page, "echo first")
    ends_as(page, "OK")
    page.get_by_role("textbox", name="Run", exact=True).fill("exit 3")
    run(page)
    ends_as(page, "Run failed")
    opened = another_tab(page)
    own = opened.get_by_role("region", name="Your runs")
    expect(own.get_by_role("listitem")).to_contain_text(["Run failed", "OK"])
    own.get_by_role("link").last.click()
    ends_as(opened, "OK")
    assert opened.url.endswith(id)
    expect(opened.get_by_role("textbox", name="Run", exact=True)).to_have_value("echo first")
    own.get_by_role("button", name="Forget all").click()
    expect(own).to_be_hidden()
    expect(page.get_by_role("region", name="Your runs")).to_be_hidden()
