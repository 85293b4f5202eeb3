"""CHANGELOG.md has an entry for the version of the distribution, in the form of Keep a Changelog."""

import re
import tomllib
from pathlib import Path

from tests.support.commands import run_command

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Upgrade notes"}


def test_the_version_has_an_entry() -> None:
    headings = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert any(re.fullmatch(rf"\[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d", each) for each in headings)


def test_changes_are_grouped() -> None:
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= KINDS


def test_the_command_prints_the_version() -> None:
    assert run_command("--version") == (0, f"{VERSION}\n")
