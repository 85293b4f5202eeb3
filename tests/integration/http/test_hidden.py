"""Hidden test cases: a key without the right finds nothing of them, wherever it looks."""

import base64
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import httpx
import pytest

from tests.integration.http.nodes import Nodes, bearer, finished_at
from tests.integration.http.test_http import problem
from tests.integration.http.test_keys import User
from tests.support.polling import eventually
from tests.support.submissions import finished
from topics.security.api_keys import Scope
from topics.submissions.stage import CheckerStage, OutputFile, RunStage

pytestmark = pytest.mark.xdist_group("http")

SECRET = "sesame-in-the-open"
ENCODED = base64.b64encode(SECRET.encode()).decode()
HIDDEN = {
    "input": SECRET,
    "args": [SECRET],
    "expected_output": SECRET,
    "hidden": True,
    "points": 2,
}
REQUEST: dict[str, Any] = {
    "run": "cat",
    "files": [{"name": "in", "content": SECRET}, {"name": "main.py", "content": "shown-file"}],
    "test_cases": [{"input": "shown-input"}, HIDDEN, {"input_file": "in", "hidden": True}],
    "comparison": {
        "mode": "checker",
        "files": [{"name": SECRET, "content": SECRET}],
        "compile": f"make {SECRET}",
        "run": ["./check", SECRET],
    },
}


def stage(text: str, name: str) -> RunStage:
    content = base64.b64encode(text.encode()).decode()
    return RunStage(
        stdout=text,
        stderr=text,
        exit_code=0,
        verdict="accepted",
        score=2.0,
        checker=CheckerStage(stdout=text, stderr=text, exit_code=0),
        outputs=(OutputFile(name=name, size_bytes=1, media_type="text/plain", content=content),),
    )


RUN = (stage("shown-output", "a.txt"), stage(SECRET, SECRET), stage(SECRET, "b.txt"))
END = finished(*RUN, outcome="internal_error").replace(error=SECRET)


@pytest.fixture(scope="module")
def locked(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(kafka, tmp_path_factory.mktemp("hidden"), count=1, http_keys=True) as nodes:
        yield nodes


class Planted(NamedTuple):
    """A submission with the secret in every place that can be hidden, and those who ask for it."""

    nodes: Nodes
    id: str
    owner: User
    judge: User
    """Owner's key with the right, such as that of a second program of a judge."""

    @property
    def path(self) -> str:
        return f"/submissions/{self.id}"


def with_right(nodes: Nodes, owner: User) -> User:
    """Another key with the owner's id, and the right."""
    judge = User(nodes)
    judge.key = nodes.put_key(id=owner.id, scopes=(Scope.SUBMIT, Scope.READ), reads_hidden=True)
    eventually(lambda: judge.ask("GET", "/dependencies/0").status_code != 401, "the key is known")
    judge.id = owner.id
    return judge


@pytest.fixture(scope="module")
def planted(locked: Nodes) -> Planted:
    owner = User(locked)
    id = f"planted-{uuid.uuid4().hex}"
    assert SECRET not in owner.submit(REQUEST | {"id": id}).text
    locked.say(id, END)
    eventually(partial(finished_at, locked.clients[0], id), "it is finished")
    return Planted(locked, id, owner, with_right(locked, owner))


Ask = Callable[[Planted, User], httpx.Response]


def get(path: str, **arguments: Any) -> Ask:
    return lambda planted, user: user.ask("GET", path.format(planted.path, planted.id), **arguments)


def again(**query: Any) -> Ask:
    return lambda planted, user: user.submit(REQUEST | {"id": planted.id}, params=query)


def in_a_batch(planted: Planted, user: User) -> httpx.Response:
    return user.ask("POST", "/submissions/batch", json=[REQUEST | {"id": planted.id}])


def cancelled(planted: Planted, user: User) -> httpx.Response:
    id = user.submit(REQUEST).json()["id"]
    planted.nodes.start(id)
    return user.ask("DELETE", f"/submissions/{id}")


PLACES: dict[str, tuple[Ask, bool]] = {
    "state": (get("{0}"), True),
    "fields": (get("{0}?fields=run,error"), True),
    "wait": (get("{0}?wait=true"), True),
    "by ids": (get("/submissions?id={1}&id=unknown"), True),
    "by ids, fields": (get("/submissions?id={1}&fields=run"), True),
    "list": (get("/submissions"), False),
    "request": (get("{0}/request"), True),
    "events": (get("{0}/events"), True),
    "the last event": (get("{0}/events", headers={"Last-Event-ID": "99999-0"}), True),
    "output by its name": (get("{0}/outputs/2/b.txt"), True),
    "an output that is not there": (get("{0}/outputs/1/b.txt"), False),
    "shown output": (get("{0}/outputs/0/a.txt"), False),
    "sent again": (again(), True),
    "sent again, waiting": (again(wait=True), True),
    "batch": (in_a_batch, True),
    "cancelled": (cancelled, False),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_secret_is_found_by_those_who_may_alone(planted: Planted, place: str) -> None:
    ask, is_there = PLACES[place]
    shown, whole = ask(planted, planted.owner), ask(planted, planted.judge)
    assert (SECRET in whole.text or ENCODED in whole.text) == is_there, "it is looked for where it can be"
    for text in (shown.text, str(shown.headers)):
        assert SECRET not in text
        assert ENCODED not in text
    assert whole.is_success or place == "an output that is not there"
    assert shown.is_success or "output" in place


def test_what_is_shown_of_a_hidden_case(planted: Planted) -> None:
    plain, hidden, _ = planted.owner.ask("GET", planted.path).json()["run"]
    assert (plain["stdout"], plain["outputs"][0]["name"], "hidden" in plain) == (
        "shown-output",
        "a.txt",
        False,
    )
    assert (hidden["hidden"], hidden["verdict"], hidden["score"], hidden["exit_code"]) == (
        True,
        "accepted",
        2,
        0,
    )
    request = planted.owner.ask("GET", f"{planted.path}/request").json()
    assert [file["content"] for file in request["files"]] == ["", "shown-file"]
    assert [case["input"] for case in request["test_cases"]] == ["shown-input", "", ""]
    assert request["comparison"]["files"] == []
    told = problem(planted.owner.ask("GET", f"{planted.path}/outputs/1/any"), 403, "forbidden")
    assert "of test case 1 is hidden" in told["detail"]
    assert planted.owner.ask("GET", f"{planted.path}/outputs/0/a.txt").text == "shown-output"


@pytest.mark.parametrize("path", ["{0}", "{0}/request", "{0}?fields=run"])
def test_a_tag_of_the_whole_is_not_one_of_what_is_shown(planted: Planted, path: str) -> None:
    ask = partial(get(path), planted)
    users = (planted.owner, planted.judge)
    tags = [ask(user).headers["etag"] for user in users]
    assert len(set(tags)) == 2
    for number, user in enumerate(users):
        for other, tag in enumerate(tags):
            answer = user.ask("GET", path.format(planted.path), headers={"If-None-Match": tag})
            assert answer.status_code == (304 if number == other else 200)


def test_a_stream_leaves_out_what_hidden_cases_print(locked: Nodes, planted: Planted) -> None:
    seen: dict[str, str] = {}
    for user in (planted.owner, planted.judge):
        id = user.submit(REQUEST).json()["id"]
        locked.start(id)
        locked.print(id, SECRET, case=1)
        locked.print(id, "shown-piece", case=0)
        url, headers = f"/submissions/{id}/events", bearer(user.key)
        with locked.clients[0].stream("GET", url, headers=headers) as events:
            for line in events.iter_lines():
                seen[user.key] = seen.get(user.key, "") + line
                if "shown-piece" in line:
                    locked.say(id, END)
    assert SECRET not in seen[planted.owner.key]
    assert seen[planted.judge.key].count("event: output") == 2
    assert "event: end" in seen[planted.owner.key]


def test_a_key_that_reads_all_is_shown_no_more_without_the_right(locked: Nodes, planted: Planted) -> None:
    reader = User(locked, Scope.READ_ALL)
    for path in ("", "/request", "/events"):
        answer = reader.ask("GET", planted.path + path)
        assert answer.status_code == 200
        assert SECRET not in answer.text


def test_keys_with_the_right_are_made_and_listed(locked: Nodes) -> None:
    key = locked.command("keys", "create", "grader", "--scope", "read-all", "--reads-hidden").strip()
    (listed,) = [line for line in locked.command("keys", "list").splitlines() if "grader" in line]
    assert "read-all,reads-hidden" in listed
    other = locked.command("keys", "rotate", listed.split()[0]).strip()
    assert other != key
    assert locked.command("keys", "list").count("read-all,reads-hidden") == 2
