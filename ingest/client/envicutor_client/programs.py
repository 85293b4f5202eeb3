"""Requests made of a program's code and keyword arguments."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict

from envicutor_client.content import encoded, read_file
from envicutor_client.models import Language, Limits

NAMELESS = "main"
"""Name of the file with the code, if the program has no language."""
Content = str | bytes | Path
"""Content of a file: text, bytes, or the path of a local file that has it."""
_REGISTRIES = ("pypi", "npm")
_SENT_AS_GIVEN = ("id", "package_set", "compile", "run", "env", "tags", "outputs")
_OF_THE_METHODS = ("language", "timeout_s")
"""Keyword arguments beside those of `ProgramOptions`, which may be misspelt as well."""


class ProgramOptions(TypedDict, total=False):
    """Keyword arguments of `Client.run` and `Client.map`, each of which may be left out."""

    source: str
    """Name of the file with the code; by default the usual one of the language, such as `main.cpp`."""
    files: Mapping[str, Content]
    """Further files by name."""
    input: str | bytes
    """Standard input of the program; it is empty by default."""
    args: Sequence[str]
    """Arguments of the program."""
    packages: Sequence[str]
    """Debian packages, beside those of the language."""
    pypi: Sequence[str]
    """Packages of PyPI, such as `requests==2.32.5`."""
    npm: Sequence[str]
    """Packages of npm, such as `lodash@4.17.21`."""
    package_set: str
    """Name of the package set from which the packages are taken, such as `debian-13`."""
    compile: str | Sequence[str]
    """Command that compiles, instead of that of the language: a script or an argument vector."""
    run: str | Sequence[str]
    """Command that runs the program, instead of that of the language."""
    env: Mapping[str, str]
    """Environment variables of compiler and program, by name."""
    outputs: Sequence[str]
    """Patterns of the files to return, such as `*.png`."""
    time_s: float
    """Limit of the run's wall time and of its CPU time, in seconds."""
    memory_bytes: int
    """Limit of the run's memory, in bytes."""
    limits: Limits | Mapping[str, Any]
    """Any other limits, by stage. `time_s` and `memory_bytes` take precedence."""
    tags: Sequence[str]
    """Tags by which lists can be filtered."""
    id: str
    """Id of the submission; by default the client makes one."""


def program(code: str | bytes, language: Language | None, options: ProgramOptions) -> dict[str, Any]:
    """Return the request that runs `code`.

    Raises:
        TypeError: there is no such option, or the content of a file is of another type.
        ValueError: a local file is larger than any request may be.
        OSError: a local file cannot be read.
    """
    _check_names(options)
    source = options.get("source") or (language.source_file if language else NAMELESS)
    files: dict[str, Content] = {source: code, **options.get("files", {})}
    body: dict[str, Any] = {"language": language.name} if language else {}
    body["files"] = [{"name": name} | encoded(_data(name, content)) for name, content in files.items()]
    body |= _given(options, _SENT_AS_GIVEN)
    if dependencies := _dependencies(language, options):
        body["dependencies"] = dependencies
    if limits := _limits(options):
        body["limits"] = limits
    body["test_cases"] = [encoded(options.get("input", ""), "input") | {"args": [*options.get("args", ())]}]
    return body


def _given(options: Mapping[str, object], names: Sequence[str]) -> dict[str, Any]:
    """Return the options with these names that have a value."""
    return {name: value for name in names if (value := options.get(name))}


def _check_names(options: Mapping[str, object]) -> None:
    known = ProgramOptions.__optional_keys__
    for name in options:
        if name not in known:
            near = get_close_matches(name, [*sorted(known), *_OF_THE_METHODS], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f": there are {', '.join(sorted(known))}"
            raise TypeError(f"there is no keyword argument {name!r}{hint}")


def _data(name: str, content: Content) -> bytes | str:
    if isinstance(content, Path):
        return read_file(content)
    if isinstance(content, (str, bytes)):
        return content
    found = type(content).__name__
    raise TypeError(f"the content of the file {name!r} must be str, bytes or Path, not {found}")


def _dependencies(language: Language | None, options: ProgramOptions) -> dict[str, Any]:
    """Return what to install, or nothing if that is what the language needs: the server knows it."""
    own = _given(options, _REGISTRIES)
    packages = list(options.get("packages", ()))
    if not own and not packages:
        return {}
    packages = [*(language.packages if language else ()), *packages]
    return own | ({"packages": packages} if packages else {})


def _limits(options: ProgramOptions) -> dict[str, Any]:
    given = options.get("limits", {})
    limits = given.model_dump(exclude_unset=True) if isinstance(given, Limits) else dict(given)
    run: dict[str, Any] = {}
    if "time_s" in options:
        run |= {"wall_time_s": options["time_s"], "cpu_time_s": options["time_s"]}
    if "memory_bytes" in options:
        run["memory_bytes"] = options["memory_bytes"]
    return limits | ({"run": {**limits.get("run", {}), **run}} if run else {})
