"""The languages of the default package set, with their versions."""

import asyncio
from collections.abc import Collection

from ingest.models import Body
from nix.errors import CacheError
from nix.settings import NixSettings
from nix.versions import versions
from topics.request.languages import Preset, chosen, presets
from topics.views.package_sets import PackageSets


class Language(Body):
    """A preset: what a request with `language` takes for the fields that it does not set."""

    name: str
    """Value of `language` in requests."""
    title: str
    """Title for people, with the version."""
    version: str
    """Version of the compiler or interpreter in the package set."""
    packages: tuple[str, ...]
    """Packages of the environment; empty for the base environment."""
    source_file: str
    """Name of the source file. If no file of the request has this name, the first file is the source."""
    suffixes: tuple[str, ...]
    """Suffixes of file names, such as `.cpp`, for which clients choose this language; no other language has
    them."""
    compile: str | None
    """Script that compiles the program, or null. In it and in `run`, `{source}` stands for the name of the
    source file, quoted for the shell, and `{stem}` for the same without its suffix. Sizes in it fit the
    default limits of the language, and in a request its own limits."""
    run: str
    """Script that runs the program; `"$@"` in it are the arguments of the test case."""
    hello: str
    """Program that greets the name on its standard input, or the world."""
    prebuilt: bool
    """Whether its environment is built before a submission needs it: the operator has listed it in
    `ENVICUTOR_LANGUAGES`, or it needs nothing but the base environment."""


class LanguageList(Body):
    """All languages whose packages are in the default package set, sorted by name."""

    package_set: str
    """Pin of the default package set."""
    languages: list[Language]
    """Presets that `language` of a request may name."""


class Languages:
    """The languages of the default package set, whose versions are read at the first request."""

    def __init__(self, package_sets: PackageSets, nix: NixSettings, prebuilt: Collection[str]) -> None:
        """`prebuilt` are the names of `ENVICUTOR_LANGUAGES`."""
        self._package_sets, self._nix = package_sets, nix
        self._prebuilt = {preset.name for preset in chosen(prebuilt)}
        self._lock = asyncio.Lock()
        self._listed = LanguageList(package_set="", languages=[])

    async def listed(self) -> LanguageList:
        """Return the languages of the default package set.

        Raises:
            CacheError: no package set is in force yet, or this host does not have it.
        """
        in_force = self._package_sets.in_force
        if in_force is None:
            raise CacheError("no package set is in force yet")
        async with self._lock:
            if self._listed.package_set != in_force.pin:
                self._listed = await asyncio.to_thread(self._read, in_force.pin)
            return self._listed

    def _read(self, pin: str) -> LanguageList:
        known = presets().values()
        names = {name for preset in known for name in (*preset.packages, preset.version_package)}
        found = versions(self._nix, pin, names)
        languages = [
            self._language(preset, found[preset.version_package])
            for preset in known
            if found.keys() >= {*preset.packages, preset.version_package}
        ]
        return LanguageList(package_set=pin, languages=languages)

    def _language(self, preset: Preset, version: str) -> Language:
        return Language(
            name=preset.name,
            title=preset.title.replace("{version}", version),
            version=version,
            packages=preset.packages,
            source_file=preset.source_file,
            suffixes=preset.suffixes,
            compile=preset.shown_compile,
            run=preset.shown_run,
            hello=preset.hello,
            prebuilt=not preset.packages or preset.name in self._prebuilt,
        )
