from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ingest import problems
from ingest.routes import page


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(page, "BUILT", tmp_path / "dist")
    return tmp_path / "dist"


@pytest.fixture
def client(built: Path) -> TestClient:
    app = FastAPI()
    problems.install(app)
    page.install(app)
    return TestClient(app)


def test_says_how_to_build_it(client: TestClient, built: Path) -> None:
    answer = client.get("/")
    assert answer.status_code == 503
    assert "make setup" in answer.json()["detail"]
    built.mkdir()
    (built / "index.html").write_text("<!doctype html>")
    assert client.get("/").text == "<!doctype html>"


def test_index_is_asked_for_again_and_assets_are_not(client: TestClient, built: Path) -> None:
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<!doctype html>")
    (built / "assets" / "main-1a2b.js").write_text("let x")
    index = client.get("/")
    assert index.headers["Cache-Control"] == "no-cache"
    assert client.get("/", headers={"If-None-Match": index.headers["ETag"]}).status_code == 304
    script = client.get("/assets/main-1a2b.js")
    assert "immutable" in script.headers["Cache-Control"]
    assert script.headers["Content-Type"].startswith("text/javascript")
    for answer in (index, script):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert client.get("/assets/../../routes/page.py").status_code == 404
    assert client.get("/assets/%2e%2e/index.html").status_code == 404


def test_is_no_part_of_the_document(client: TestClient) -> None:
    assert client.get("/openapi.json").json()["paths"] == {}
