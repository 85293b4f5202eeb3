"""The Python client against a whole system."""

import time
import uuid
from pathlib import Path

import pytest

from envicutor_client import Client
from tests.system.cluster.running import ANSWER_S, NUMPY, Cluster

pytestmark = pytest.mark.xdist_group("cluster")

CODE = """
import pathlib, sys, numpy
pathlib.Path("sum.csv").write_text(str(numpy.loadtxt("data").sum()))
print(input(), *sys.argv[1:])
"""


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return Client(str(cluster.http.base_url))


def test_a_program_with_everything(client: Client, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("1 2 3\n")
    with client:
        result = client.run(
            CODE,
            language=None,
            source="main.py",
            run=["python3", "main.py"],
            packages=NUMPY["packages"],
            files={"data": tmp_path / "local"},
            input="first",
            args=["second"],
            outputs=["*.csv"],
            time_s=20,
            timeout_s=ANSWER_S,
        )
    assert (result.ok, result.exit_code, result.stdout) == (True, 0, "first second\n")
    assert result.files == {"sum.csv": b"6.0"}


def test_output_comes_while_the_program_runs(client: Client) -> None:
    with client:
        id = client.submit({"run": "echo one; sleep 3; echo two"}, interactive=True).id
        arrived = [(printed.text, time.monotonic()) for printed in client.stream(id)]
        assert client.get(id).outcome == "ok"
    assert [text for text, _ in arrived] == ["one\n", "two\n"]
    assert arrived[1][1] - arrived[0][1] > 1


def test_one_program_with_many_inputs(client: Client) -> None:
    inputs = [uuid.uuid4().hex for _ in range(20)]
    with client:
        results = list(client.map("", inputs, language=None, run="cat", concurrency=4, timeout_s=ANSWER_S))
    assert [result.stdout for result in results] == inputs


def test_a_language_and_many_answers_at_once(client: Client) -> None:
    with client:
        results = [client.run(f"print({n} * 7)", language="lua", timeout_s=ANSWER_S) for n in (6, 8)]
        ids = [result.id for result in results]
        assert [answer and answer.outcome for answer in client.get_many([*ids, "none"])] == ["ok", "ok", None]
    assert [result.stdout for result in results] == ["42\n", "56\n"]
