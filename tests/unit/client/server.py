"""A real HTTP server that answers as a test decides."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from envicutor_client.models import Answer, RunStage, Status

Reply = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Gives `replies` in their order, the last one again and again; None breaks the connection."""

    replies: list[Reply | None]
    asked: list[tuple[str, str, Any]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, json.loads(body or b"null")))
        replies = self.server.replies
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply is None:
            return
        status, headers, content = reply
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    with Server(("127.0.0.1", port), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def reply(status: Status, code: int = 200) -> Reply:
    return code, {}, Answer(id="one", status=status, created_at="").model_dump_json().encode()


def problem(code: int, **fields: object) -> Reply:
    return code, {}, json.dumps({"detail": "no", "errors": []} | fields).encode()


def language(name: str, **fields: Any) -> dict[str, Any]:
    """A preset as the server lists it."""
    texts = dict.fromkeys(("title", "version", "source_file", "run", "hello"), name)
    return {"name": name, "packages": [], "suffixes": [], "compile": None, "prebuilt": False} | texts | fields


def languages(*known: dict[str, Any]) -> Reply:
    return 200, {}, json.dumps({"package_set": "a", "languages": known}).encode()


def finished(**fields: Any) -> Reply:
    """An answer with one run; `fields` are of the run."""
    run = RunStage.model_validate({"exit_code": 0, "verdict": "accepted"} | fields)
    outcome = "ok" if run.verdict == "accepted" else "run_failed"
    answer = Answer(id="one", status="finished", outcome=outcome, created_at="", run=[run])
    return 200, {}, answer.model_dump_json().encode()


def stream(*events: tuple[str, dict[str, Any]]) -> Reply:
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return 200, {"Content-Type": "text/event-stream"}, text.encode()
