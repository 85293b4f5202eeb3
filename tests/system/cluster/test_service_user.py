"""The system user that roles without privileges run as."""

import os
import subprocess
import sys
from pathlib import Path

START_S = 60.0


def test_a_user_that_does_not_exist_ends_the_start(tmp_path: Path) -> None:
    settings = {
        "ENVICUTOR_SERVICE_USER": "envicutr",
        "ENVICUTOR_DATA_DIR": str(tmp_path / "data"),
        "ENVICUTOR_HTTP_PORT": "0",
        "ENVICUTOR_KAFKA_PORT": "0",
    }
    starting = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "up"],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = ""
    assert starting.stdout
    with starting.stdout:
        for line in starting.stdout:
            said += line
            if "starting the broker" in line:  # it goes on
                break
    starting.terminate()
    exit_code = starting.wait(START_S)
    assert "starting the broker" not in said
    assert "ENVICUTOR_SERVICE_USER: there is no system user 'envicutr'" in said
    assert exit_code == 2
    assert not (tmp_path / "data").exists()
