"""The magic of notebooks, in a real kernel."""

import base64
import os
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from tests.unit.client.server import (
    Reply,
    Server,
    finished,
    language,
    languages,
    problem,
    reply,
    serving,
    stream,
)

START_S = 120
CELL = "%%envicutor --package python3-numpy --time 5\nprint('in the sandbox')\n"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def execute(server: Server, *cells: str) -> list[dict[str, Any]]:
    """What the kernel sends for each of the cells."""
    manager, client = start_new_kernel(START_S, env=os.environ | {"ENVICUTOR_SERVER": server.url})
    sent: list[dict[str, Any]] = []
    try:
        for cell in ("%load_ext envicutor_client.magic", *cells):
            client.execute_interactive(cell, output_hook=sent.append, timeout=START_S)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return [message["content"] for message in sent if message["msg_type"] not in {"status", "execute_input"}]


def image() -> Reply:
    file = {"name": "plot.png", "size_bytes": 8, "media_type": "image/png", "content": PNG}
    return finished(stdout="hi\n", outputs=[file])


@pytest.mark.timeout(2 * START_S)
def test_a_cell_runs_on_the_server() -> None:
    printed = {
        "id": "one",
        "status": "finished",
        "created_at": "",
        "run": [{"stdout": "hi\n", "stderr": "oh"}],
    }
    python = language("python", packages=["python3"], source_file="main.py")
    with serving() as server:
        server.replies = [languages(python), reply("queued", 202), stream(("end", printed)), image()]
        server.replies += [languages(python), problem(422, detail="too long")]
        out, err, shown, name, refused = execute(server, CELL, "print(_envicutor.verdict)", CELL)
        assert (out, err) == ({"name": "stdout", "text": "hi\n"}, {"name": "stderr", "text": "oh"})
        assert shown["data"]["image/png"].strip() == PNG
        assert name["text"] == "accepted\n"
        assert refused["text"] == "UsageError: too long\n"
        body = server.asked[1][2]
    assert body["dependencies"] == {"packages": ["python3", "python3-numpy"]}
    assert body["files"] == [{"name": "main.py", "content": "print('in the sandbox')\n"}]
    assert body["limits"]["run"] == {"wall_time_s": 5.0, "cpu_time_s": 5.0}
    assert "*.png" in body["outputs"]
