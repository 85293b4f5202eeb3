"""Shipped modules, as they are or with a few lines replaced: a mutant is a patch of what ships."""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import NamedTuple

from typing_extensions import override

_PACKAGES = ("processors", "ingest")
"""What is imported anew for a mutant, so that its modules use each other's patched versions."""


class Patch(NamedTuple):
    """A place of a shipped module, and what stands there in a mutant."""

    module: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        """Return the patched source; what ships must have the old text once."""
        assert _is_ours(self.module), self.module
        count = source.count(self.old)
        assert count == 1, f"{self.module} has this {count} times, so the mutant is none:\n{self.old}"
        return source.replace(self.old, self.new)


class Shipped:
    """The modules below `processors` and `ingest` with these patches."""

    def __init__(self, patches: tuple[Patch, ...] = ()) -> None:
        self._patches = patches
        self._modules: dict[str, ModuleType] = {}

    def module(self, name: str) -> ModuleType:
        """Return a module; the one of the product if nothing is patched."""
        if not self._patches:
            return importlib.import_module(name)
        if name not in self._modules:
            with self._imported_anew():
                importlib.import_module(name)
        return self._modules[name]

    @contextmanager
    def _imported_anew(self) -> Iterator[None]:
        product = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
        sys.modules |= self._modules
        finder = _Finder(self._patched)
        sys.meta_path.insert(0, finder)
        try:
            yield
            self._modules = {name: sys.modules[name] for name in list(sys.modules) if _is_ours(name)}
        finally:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if _is_ours(name)]:
                del sys.modules[name]
            sys.modules |= product

    def _patched(self, name: str, source: str) -> str:
        for patch in self._patches:
            if patch.module == name:
                source = patch.apply(source)
        return source


@cache
def shipped(patches: tuple[Patch, ...] = ()) -> Shipped:
    """Return the modules with these patches, which are imported once."""
    return Shipped(patches)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in _PACKAGES


class _Finder(MetaPathFinder):
    def __init__(self, patched: Callable[[str, str], str]) -> None:
        self._patched = patched

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if _is_ours(fullname) else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, self._patched)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, patched: Callable[[str, str], str]) -> None:
        super().__init__(fullname, path)
        self._patched = patched

    @override
    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        code: CodeType = compile(self._patched(fullname, source), self.path, "exec", dont_inherit=True)
        return code
