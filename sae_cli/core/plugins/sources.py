"""Where the code of a plug-in lies: a Python file, a folder, or an installed package."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import sysconfig
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.paths import full_path

# The group of entry points by which an installed package names its plug-ins.
GROUP = "sae_train.plugins"
START, ENDING = "__init__.py", ".py"
PLAIN_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


@dataclass(frozen=True)
class Source:
    """The code of a plug-in, found but not run.

    Attributes:
        name: of the plug-in.
        given: finds it again from any folder: an absolute path, or the name of an entry point.
        folder: of its package; None for a single file.
        content: of a single file, which is what runs.
    """

    name: str
    given: str
    folder: Path | None
    content: bytes | None = None
    module: str = ""
    version: str | None = None

    @property
    def sha256(self) -> str:
        """The digest of a file's content, or of all Python files of a package."""
        if self.folder is not None:
            return digest_of(self.folder)
        return hashlib.sha256(self.content or b"").hexdigest()


def digest_of(package: Path) -> str:
    """Give the SHA-256 of a package's Python files and their names."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def find_source(given: str) -> Source:
    """Find the code that was named; what ends in ``.py`` or has a ``/`` is a path.

    Raises:
        ConfigError: there is none, or its name cannot be that of a module.
    """
    if given.endswith(ENDING) or os.sep in given:
        return _of_path(given)
    return _of_entry_point(given)


def _of_path(given: str) -> Source:
    path = full_path(given)
    if path.is_dir():
        if not (path / START).is_file():
            raise ConfigError(f"plug-in {given}: there is no {START} in this folder")
        return Source(_checked(path.name, given), str(path), path, module=path.name)
    if not path.is_file():
        raise ConfigError(f"plug-in {given}: no such file; give a Python file or package")
    if path.suffix != ENDING:
        raise ConfigError(f"plug-in {given} is not a Python file; its name has to end in {ENDING}")
    # The copy in a run folder has a digest between its name and its ending.
    name = _checked(path.name.partition(".")[0], given)
    return Source(name, str(path), None, path.read_bytes(), module=name)


def _of_entry_point(given: str) -> Source:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if given not in found:
        names = ", ".join(sorted(found)) or "none"
        raise ConfigError(
            f"plug-in {given}: no such plug-in is installed (there is {names}); give the path of "
            f"a file, such as ./{given}{ENDING}{nearest(given, found)}"
        )
    point = found[given]
    module = point.value.partition(":")[0].strip()
    top = find_spec(module.partition(".")[0])
    if top is None or top.origin is None:
        raise ConfigError(f"plug-in {given}: its package has no module {module}; install it anew")
    folder = Path(top.origin).parent if top.submodule_search_locations else None
    content = None if folder is not None else Path(top.origin).read_bytes()
    version = point.dist.version if point.dist is not None else None
    return Source(_checked(given, given), given, folder, content, module, version)


def _checked(name: str, given: str) -> str:
    if PLAIN_NAME.fullmatch(name) is None:
        raise ConfigError(
            f"plug-in {given}: {name} cannot be the name of a module; rename it, with letters, "
            "digits and _ alone"
        )
    return name


def import_source(source: Source) -> ModuleType:
    """Run the code of a plug-in as a module, unless that has been done.

    Raises:
        ConfigError: its name is that of another module, or it is not Python.
    """
    if (module := imported(source)) is not None:
        return module
    if source.given == source.name:
        return importlib.import_module(source.module)
    _refuse_other_module(source)
    path = Path(source.given)
    file = path if source.folder is None else path / START
    where = None if source.folder is None else [str(source.folder)]
    spec = spec_from_file_location(source.module, file, submodule_search_locations=where)
    assert spec is not None, "a Python file has a loader"
    module = module_from_spec(spec)
    # Classes of the module look for it there.
    sys.modules[source.module] = module
    _run(source, spec, file, module)
    return module


def forget(source: Source, before: Collection[str]) -> None:
    """Take back that a plug-in was imported, so that a corrected one can be.

    Args:
        before: the names of the modules that were there before; those of another module of that
            name stay.
    """
    for name in [name for name in sys.modules if is_within(name, source.module)]:
        if name not in before:
            del sys.modules[name]


def _run(source: Source, spec: ModuleSpec, file: Path, module: ModuleType) -> None:
    if source.content is None:
        assert spec.loader is not None
        spec.loader.exec_module(module)
        return
    # What runs is what the digest is of, whatever has become of the file in the meantime.
    code = compile(source.content, str(file), "exec", dont_inherit=True)
    exec(code, module.__dict__)


def imported(source: Source) -> ModuleType | None:
    """Give the module of this code, if another part of this process has imported it."""
    if source.given == source.name:
        return sys.modules.get(source.module)
    file = Path(source.given) if source.folder is None else Path(source.given) / START
    return next((one for one in _modules() if _is_file(one, file)), None)


def _modules() -> Iterator[ModuleType]:
    # A module that is imported when it is looked at must not be.
    yield from (one for one in [*sys.modules.values()] if isinstance(one, ModuleType))


def _is_file(module: ModuleType, file: Path) -> bool:
    own = module.__dict__.get("__file__")
    return isinstance(own, str) and Path(own).name == file.name and Path(own).resolve() == (
        file.resolve()
    )  # fmt: skip


def _refuse_other_module(source: Source) -> None:
    """Refuse a name that would stand in the way of another module's."""
    paths = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    name = source.module
    if name in {*sys.modules, *sys.stdlib_module_names} or PathFinder.find_spec(name, paths):
        raise ConfigError(
            f"plug-in {source.given}: another module has the name {name}; rename this one"
        )


def is_within(module: str, package: str) -> bool:
    """Tell whether a module is a package, or within it."""
    return module == package or module.startswith(f"{package}.")
