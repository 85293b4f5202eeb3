"""Files that a submission asks back, end to end."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.cluster.running import Cluster

pytestmark = pytest.mark.xdist_group("cluster")


def test_output_files_of_each_test_case(cluster: Cluster) -> None:
    answer = cluster.answer(
        {
            "run": 'mkdir out; echo "$1" > out/a.txt; echo b > out/b.bin; ln -s /etc/passwd out/c.txt',
            "test_cases": [{"args": ["one"]}, {"args": ["two"]}],
            "outputs": ["out/*.txt"],
        }
    )
    assert answer["outcome"] == "ok"
    for run, content in zip(answer["run"], [b"one\n", b"two\n"], strict=True):
        [file] = run["outputs"]
        assert base64.b64decode(file.pop("content")) == content
        assert file == {"name": "out/a.txt", "size_bytes": 4, "media_type": "text/plain", "omitted": None}
        assert not run["truncated"]


def test_the_command_writes_them(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "cutor-run.sh").write_text("echo 1,2 > table.csv")
    (tmp_path / "program" / "submission.json").write_text('{"outputs": ["*.csv"]}')
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli", "submit", "program", "--output-dir", "came"],
        cwd=tmp_path,
        env=os.environ
        | {"ENVICUTOR_SERVER": str(cluster.http.base_url), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "table.csv  text/csv, 4 bytes" in done.stdout
    assert (tmp_path / "came" / "table.csv").read_text() == "1,2\n"
