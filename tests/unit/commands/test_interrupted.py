"""Whoever waits no more is told how to go on."""

import re
import signal
import socket
import subprocess
import sys

from envicutor_client.cli.submit import INTERRUPTED


def test_an_interrupted_submit_names_the_submission() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "infra.cli", "submit", "-", "--server", url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdin
            process.stdin.write('{"run": "true"}')
            process.stdin.close()
            connection, _ = silent.accept()
            asked = b""
            while b"}" not in asked:
                asked += connection.recv(65536)
            process.send_signal(signal.SIGINT)
            assert process.stderr
            told = process.stderr.read()
        connection.close()
    sent = re.search(rb'"id":\s*"([^"]+)"', asked)
    assert sent
    assert f"`envicutor watch {sent[1].decode()}`" in told
    assert process.returncode == INTERRUPTED
    assert "Traceback" not in told
