"""`envicutor run` and `envicutor languages`."""

from pathlib import Path

from tests.support.commands import run_command
from tests.unit.client.server import language, languages, reply, serving, stream

CPP = language(
    "cpp", title="C++ (GCC 12.2.0)", packages=["g++"], source_file="main.cpp", suffixes=[".cpp", ".cc"]
)


def test_a_file_runs_in_the_language_of_its_suffix(tmp_path: Path) -> None:
    file = tmp_path / "sums.cpp"
    file.write_text("int main() {}")
    runs = [{"stdout": "42\n", "exit_code": 1, "verdict": "runtime_error"}]
    answer = {"id": "one", "status": "finished", "outcome": "run_failed", "created_at": "", "run": runs}
    with serving() as server:
        server.replies = [languages(CPP), reply("queued", 202), stream(("end", answer))]
        code, output = run_command(
            *(
                "run",
                str(file),
                "--package",
                "libgmp-dev",
                "--time",
                "2",
                "--server",
                server.url,
                "--",
                "-n",
                "5",
            )
        )
        (_, path, body) = server.asked[1]
    assert (code, output.startswith("42\n"), "run_failed  one" in output) == (1, True, True)
    assert "\nenvicutor: run: runtime_error, exit code 1\n" in output
    assert path == "/submissions?interactive=true"
    assert body.pop("id")
    assert body == {
        "language": "cpp",
        "files": [{"name": "sums.cpp", "content": "int main() {}"}],
        "dependencies": {"packages": ["g++", "libgmp-dev"]},
        "limits": {"run": {"wall_time_s": 2.0, "cpu_time_s": 2.0}},
        "test_cases": [{"input": "", "args": ["-n", "5"]}],
    }


def test_a_suffix_that_no_language_has(tmp_path: Path) -> None:
    (tmp_path / "a.rs").touch()
    with serving() as server:
        server.replies = [languages(CPP)]
        code, output = run_command("run", str(tmp_path / "a.rs"), "--server", server.url)
    assert code == 2
    assert "the suffix of 'a.rs' is that of no language: there are cpp; choose one with --language" in output
    code, output = run_command("run", str(tmp_path / "none.cpp"), "--server", server.url)
    assert (code, "none.cpp: No such file" in output) == (2, True)


def test_output_files_need_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").touch()
    code, output = run_command("run", str(tmp_path / "a.cpp"), "--output", "*.txt")
    assert (code, "--output needs --output-dir" in output) == (2, True)


def test_the_languages() -> None:
    with serving() as server:
        server.replies = [languages(CPP)]
        code, output = run_command("languages", "--server", server.url)
    assert code == 0
    assert [line.split() for line in output.splitlines()][1] == ["cpp", "C++", "(GCC", "12.2.0)", "main.cpp"]
