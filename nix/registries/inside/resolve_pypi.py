"""`resolve_pypi INDEX PIN...`: prints, as JSON, the wheels that pip would install for the pins.

exit_code       exit code of pip
messages        end of pip's error output
python_version  such as 3.11
artifacts       name, version, url, sha256 (may be null) and yanked (withdrawn) of each wheel; only if the
                exit code is 0
missing         requirement without a candidate, if there is one: its name, and the files that the index
                lists for the name, null if the index does not have the name
fault           reason if the index could not be asked for these files
"""

import json
import re
import subprocess
import sys
import urllib.error
from html import unescape
from http import HTTPStatus

from nix.registries.inside.tunnel import open_tunnel
from nix.registries.inside.web import CA, opener, request

PIP = (sys.executable, "-m", "nix.registries.inside.wheels_only")
LISTED_BYTES = 8 << 20
FILES = 20_000
MESSAGES_CHARACTERS = 20_000
NO_CANDIDATE = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)")
WANTED = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"


def main(index: str, *pins: str) -> None:
    """Resolve the pins through the proxy, which reaches configured hosts only."""
    proxy = open_tunnel()
    options = [
        "--isolated",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-input",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--only-binary=:all:",
        "--report=-",
    ]
    network = ["--index-url", index, "--cert", CA, "--proxy", proxy, "--retries", "1", "--timeout", "20"]
    ran = subprocess.run(
        [*PIP, "install", *options, *network, "--", *pins],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, object] = {
        "exit_code": ran.returncode,
        "messages": ran.stderr[-MESSAGES_CHARACTERS:],
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    if ran.returncode == 0:
        report = json.loads(ran.stdout)
        found["artifacts"] = [_artifact(item) for item in report["install"]]
    elif missing := NO_CANDIDATE.search(ran.stderr):
        try:
            found["missing"] = {"name": missing[1], "files": _files(index, missing[1], proxy)}
        except OSError as error:
            found["fault"] = str(error)[:500]
    sys.stdout.write(json.dumps(found))


def _artifact(item: dict[str, dict[str, object]]) -> dict[str, object]:
    download, metadata = item["download_info"], item["metadata"]
    archive = download.get("archive_info")
    hashes = archive.get("hashes", {}) if isinstance(archive, dict) else {}
    return {
        "name": metadata["name"],
        "version": metadata["version"],
        "url": download["url"],
        "sha256": hashes.get("sha256"),
        "yanked": bool(item.get("is_yanked")),
    }


def _files(index: str, name: str, proxy: str) -> list[str] | None:
    """Return the file names that the index lists for a name, None if the index does not have the name.

    Raises:
        OSError: the index could not be reached, or answered with another error than 404.
    """
    address = f"{index.rstrip('/')}/{re.sub('[-_.]+', '-', name).lower()}/"
    try:
        with opener(proxy).open(request(address, Accept=WANTED), timeout=20) as answer:
            listed = answer.read(LISTED_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise
    try:
        names = [str(file["filename"]) for file in json.loads(listed)["files"]]
    except (ValueError, KeyError, TypeError):
        names = [unescape(text).strip() for text in re.findall(r"<a\b[^>]*>([^<]*)</a>", listed)]
    return names[-FILES:]


if __name__ == "__main__":
    main(*sys.argv[1:])
