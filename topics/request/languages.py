"""Presets: dependencies, commands and limits of a request that names a `language`."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from topics.model import Model
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.limits import Limits, MiB, RunLimits
from topics.request.model import LANGUAGE_PATTERN, Dependencies, Env, SubmissionRequest

ALL = "all"
"""Name that stands for all languages, in settings and options."""
_OTHER_NAMES = {"cplusplus": "cpp", "golang": "go", "node": "javascript", "nodejs": "javascript"}
"""Names of languages that are neither their titles nor suffixes of their files, for advice."""


class UnknownLanguageError(ValueError):
    """There is no language of this name. The message has the nearest name, or all names."""


class Preset(Model):
    """How programs of one language are compiled and run, unless the request itself has these fields."""

    name: str = Field(pattern=LANGUAGE_PATTERN)
    title: str
    """Title for people. `{version}` in it is the version of the package `version_of`."""
    packages: tuple[str, ...]
    """Debian packages of the environment."""
    version_of: str = ""
    """Debian package whose version is shown; by default the first of `packages`."""
    source_file: str
    """Name of the source file, if the request has a file of that name."""
    suffixes: tuple[str, ...]
    """Suffixes of file names for which clients choose this preset; no other preset has them."""
    compile: str | None = None
    """Script that compiles; None if there is nothing to compile. In it and in `run`, `{source}` is the source
    file, quoted for the shell, `{stem}` the same without its suffix, and `{memory_mib}` the memory limit of
    the stage in MiB."""
    run: str
    """Script that runs the program with its arguments."""
    env: Env = Field(default_factory=dict)
    """Environment variables of both scripts."""
    limits: Limits = Limits()
    """Limits that differ from the defaults of requests."""
    hello: str
    """Small program that greets the name on its standard input, or the world."""

    @property
    def dependencies(self) -> Dependencies:
        """The dependencies of a request with this preset."""
        return Dependencies(packages=self.packages)

    @property
    def titles(self) -> tuple[str, ...]:
        """Title without version and compiler, and suffixes without their dots, all in lower case."""
        title = self.title.partition(" (")[0].removesuffix(" {version}")
        return (title.lower(), *(suffix[1:].lower() for suffix in self.suffixes))

    @property
    def version_package(self) -> str:
        """The Debian package whose version is shown."""
        return self.version_of or self.packages[0]

    @property
    def shown_compile(self) -> str | None:
        """`compile` with the placeholders `{source}` and `{stem}` alone, for the memory of `limits`."""
        return None if self.compile is None else _with_memory(self.compile, self.limits.compile)

    @property
    def shown_run(self) -> str:
        """`run` with the placeholders `{source}` and `{stem}` alone, for the memory of `limits`."""
        return _with_memory(self.run, self.limits.run)


@cache
def presets() -> Mapping[str, Preset]:
    """Return all presets by name, sorted."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    rows = json.dumps([fields | {"name": name} for name, fields in sorted(table.items())])
    read = TypeAdapter(tuple[Preset, ...]).validate_json(rows)
    return MappingProxyType({preset.name: preset for preset in read})


def find(name: str) -> Preset:
    """Return the preset of a language.

    Raises:
        UnknownLanguageError: there is none.
    """
    known = presets()
    if preset := known.get(name):
        return preset
    near = _near(name.lower())
    advice = f"; the nearest is {near!r}" if near else f": there are {', '.join(known)}"
    raise UnknownLanguageError(f"there is no language {name!r} in `GET /languages`{advice}")


def _near(name: str) -> str | None:
    """Return the language that `name` may mean: its title, the suffix of its files, or a similar name."""
    known = presets()
    near = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else []
    near += [preset.name for preset in known.values() if name in preset.titles]
    near += get_close_matches(name, known, n=1)
    return next(iter(near), None)


def _known(name: str) -> str:
    return name if name == ALL else find(name).name


LanguageNames = tuple[Annotated[str, AfterValidator(_known)], ...]
"""Names of languages; `all` stands for all of them."""


def chosen(names: Iterable[str]) -> tuple[Preset, ...]:
    """Return the presets of these languages, each once; `all` stands for all of them.

    Raises:
        UnknownLanguageError: there is no language of one of the names.
    """
    wanted = dict.fromkeys(names)
    if ALL in wanted:
        wanted = dict.fromkeys(presets()) | wanted
        del wanted[ALL]
    return tuple(map(find, wanted))


def with_limits(request: SubmissionRequest) -> SubmissionRequest:
    """Return the request with the limits of its language, for those that it does not set.

    Raises:
        InvalidRequestError: there is no such language.
    """
    if request.language is None:
        return request
    preset = _of_request(request.language)
    stages = {}
    for name in preset.limits.model_fields_set:
        own, default = getattr(request.limits, name), getattr(preset.limits, name)
        unset = default.model_fields_set - own.model_fields_set
        stages[name] = own.replace(**{limit: getattr(default, limit) for limit in unset})
    return request.replace(limits=request.limits.replace(**stages))


def with_commands(request: SubmissionRequest) -> SubmissionRequest:
    """Return the request with what its language gives for fields that the request does not set.

    The commands fit the limits of the request, which are therefore completed first.

    Raises:
        InvalidRequestError: there is no such language, or the request has no source file for it.
    """
    if request.language is None:
        return request
    preset, limits = _of_request(request.language), request.limits
    return request.replace(
        dependencies=request.dependencies or preset.dependencies,
        compile=request.compile or _filled(preset, preset.compile, limits.compile, request),
        run=request.run or _filled(preset, preset.run, limits.run, request),
        env=preset.env | request.env,
    )


def _of_request(language: str) -> Preset:
    try:
        return find(language)
    except UnknownLanguageError as error:
        raise InvalidRequestError((FieldError(field="language", message=str(error)),)) from None


def _filled(preset: Preset, command: str | None, limits: RunLimits, request: SubmissionRequest) -> str | None:
    """Return a command of a preset with all placeholders replaced, or None if there is no command.

    Raises:
        InvalidRequestError: the command needs a source file, and the request has no file.
    """
    if command is None:
        return None
    names = [file.name for file in request.files]
    if not names:
        message = f"is empty: {preset.name!r} needs a source file, such as {preset.source_file!r}"
        raise InvalidRequestError((FieldError(field="files", message=message),))
    source = _source(preset, names)
    here = "./" if source.startswith(("-", "@")) else ""  # it would be an option
    stem = PurePosixPath(source).with_suffix("")
    values = {"{source}": f"{here}{source}", "{stem}": f"{here}{stem}"}
    return re.sub(
        "{source}|{stem}", lambda place: shlex.quote(values[place[0]]), _with_memory(command, limits)
    )


def _source(preset: Preset, names: Sequence[str]) -> str:
    """Return the file with the expected name, else the first with a suffix of the preset, else the first."""
    fits = (name for name in names if PurePosixPath(name).suffix in preset.suffixes)
    return preset.source_file if preset.source_file in names else next(fits, names[0])


def _with_memory(command: str, limits: RunLimits) -> str:
    return command.replace("{memory_mib}", str(limits.memory_bytes // MiB))
