"""A browser for all tests of the page, and a tab for each."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.system.cluster.running import Cluster
from tests.system.page.browser import chromium, visit

PLOT = {"packages": ["python3", "python3-matplotlib"]}


# Not for the session: while it lives, no other test of the same process could run an event loop.
@pytest.fixture(scope="module")
def browser(cluster: Cluster) -> Iterator[Browser]:
    cluster.submit({"run": "true", "dependencies": PLOT})  # built while other tests run
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, cluster: Cluster) -> Iterator[Page]:
    with visit(browser, str(cluster.http.base_url)) as page:
        yield page
