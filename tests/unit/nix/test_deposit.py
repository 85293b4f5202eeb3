"""Files are handed over at a socket: each once, and accepted only by an explicit answer."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, socket

import pytest

from nix.registries.deposit import Deposit
from nix.registries.inside import deposit as inside


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket]:
    path = str(tmp_path / "deposit.sock")
    monkeypatch.setattr(inside, "DEPOSIT", path)
    with socket(AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        yield listener


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [(b"ok", True), (b"", False), (b"okay", False), (b"o", False), (b"ok it is not", False), (b"no", False)],
)
def test_a_file_is_accepted_only_by_an_explicit_ok(listener: socket, answer: bytes, accepted: bool) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(100):
                pass
            connection.sendall(answer)

    server = threading.Thread(target=serve)
    server.start()
    with inside.Deposited("layer") as deposited:
        deposited.write(b"content")
        try:
            why = deposited.finish()
        except Exception as error:  # however it says so
            why = repr(error)
    server.join()
    assert (why == "") == accepted


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "at the same time"])
def test_a_file_that_is_handed_over_twice_is_refused(tmp_path: Path, together: bool) -> None:
    drafts, path = tmp_path / "drafts", tmp_path / "deposit.sock"
    drafts.mkdir()
    deposit = Deposit(drafts, ["layer"], 1000)

    async def hand_over() -> list[str]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await deposit.serve(reader, writer)
            writer.close()

        answers = []
        async with await asyncio.start_unix_server(serve, path):
            first = await asyncio.open_unix_connection(path)
            first[1].write(b"layer\nhonest")
            await asyncio.sleep(0.1)
            if not together:
                first[1].write_eof()
                answers.append((await first[0].read()).decode())
            second = await asyncio.open_unix_connection(path)
            second[1].write(b"layer\nevil")
            second[1].write_eof()
            answers.append((await second[0].read()).decode())
            if together:
                first[1].write_eof()
                answers.append((await first[0].read()).decode())
            for _, writer in (first, second):
                writer.close()
        return answers

    answers = asyncio.run(hand_over())
    assert "layer" not in deposit.files
    assert "layer" in deposit.refused
    assert answers[-1] not in ("", "ok")


def test_a_name_that_is_not_expected_is_refused_with_a_reason(tmp_path: Path) -> None:
    deposit = Deposit(tmp_path, ["layer"], 1000)
    path = tmp_path / "deposit.sock"

    async def hand_over() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await deposit.serve(reader, writer)
            writer.close()

        async with await asyncio.start_unix_server(serve, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"other\n")
            writer.write_eof()
            answer = await reader.read()
            writer.close()
        return answer

    assert asyncio.run(hand_over()) not in (b"", b"ok")
    assert deposit.files == {}
