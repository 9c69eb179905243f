"""How pages are read: as options and nothing else, whoever wrote them.

Hydra evaluates parts of a page while it composes, and expands the page before anybody has seen it.
Each page is therefore checked where it is read, whatever is then shown or run. A page's settings
for Hydra would have no effect, because they are never used; they are refused so that nobody wonders
why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, final

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sae_cli.config.omitted import omitted_options
from sae_cli.config.widths import GROUP, taken_back
from sae_cli.core.errors import ConfigError

# Hydra calls this the provider of pages that are not ours, which those of plug-ins are, too.
OF_USER = "command-line"
LAUNCHERS = "hydra/launcher"
# A page of settings has far fewer values and bytes, and a memory has room for far more.
LARGEST = 10_000
LARGEST_BYTES = 1 << 20
# A reference may repeat what others repeated before it, so many of them would never end.
MOST_REFERENCES = 20
HYDRA = re.compile(r"\bhydra\b[\w./]*")
REFERENCE = re.compile(r"\$\{[^{}:]*\}")
FUNCTIONS = re.compile(r"\$\{(?:hydra|now|unique_stamp):[^{}]*\}")


@final
class FileConfigSource(file_config_source.FileConfigSource):
    """A folder of pages; Hydra makes one for each folder it searches.

    It has the name of Hydra's own, which is how Hydra keeps it in the processes of a sweep's jobs.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a page.

        Raises:
            ConfigError: it would do more than set options.
        """
        if self.provider != OF_USER:
            return super().load_config(config_path)
        _check_place(config_path)
        _check_size(config_path, Path(self.path, self._normalize_file_name(config_path)))
        try:
            result = super().load_config(config_path)
        except OmegaConfBaseException as error:
            # Hydra would only say that the page is wrong.
            raise ConfigError(f"{config_path}: {' '.join(str(error).split())}") from error
        content = OmegaConf.to_container(result.config, resolve=False)
        check_references(content, f"{config_path}: ")
        if not isinstance(content, dict):
            return result
        _check_defaults(content.get("defaults"), config_path)
        added = omitted_options(config_path, content)
        return replace(result, config=OmegaConf.merge(result.config, added)) if added else result


@final
class PageLoader(ConfigLoaderImpl):
    """Hydra's composer; it refuses a page that comes to stand among Hydra's own settings.

    A page that gives a width one way takes back the other way of pages below.
    """

    _options_below: set[str]

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        self._options_below = set()
        return super()._compose_config_from_defaults_list(defaults, repo)

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        result = super()._load_single_config(default, repo)
        page = str(default.config_path)
        if isinstance(result.config, DictConfig) and not page.startswith("hydra/"):
            content = OmegaConf.to_container(result.config, resolve=False)
            if isinstance(content, dict) and "hydra" in content:
                raise hydra_setting_error(page, f"hydra{_first_key(content['hydra'])}")
            given = content.get(GROUP) if isinstance(content, dict) else None
            if isinstance(given, dict):
                if unset := taken_back(given, self._options_below):
                    # This is a copy, because Hydra keeps pages for the next composition.
                    config = OmegaConf.merge(result.config, {GROUP: unset})
                    result = replace(result, config=config)
                self._options_below |= {str(option) for option in given}
        return result


def guard_pages() -> None:
    """Let Hydra read every file by our ``FileConfigSource``."""
    # Hydra registers its own source when it first looks for plugins.
    Plugins.instance()
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource


def check_references(content: Any, where: str = "", functions: bool = False) -> int:
    """Count the references to other settings, and refuse values that do more than refer.

    Args:
        content: plain values, not resolved.
        where: names their page in the message.
        functions: allow those that name folders.

    Raises:
        ConfigError: a function is called, such as one that reads the environment, or there are
            too many references.
    """
    references = 0
    for key, text in _texts(content):
        references += text.count("${")
        left = REFERENCE.sub("", FUNCTIONS.sub("", text) if functions else text)
        if "${" in left:
            named = f"{key}=" if key else ""
            raise ConfigError(
                f"{where}{named}{_short(text)}: functions are not run; write the value itself (the "
                "shell can: KEY=$NAME), or ${KEY} for the value of another setting"
            )
    if references > MOST_REFERENCES:
        raise ConfigError(
            f"{where}more than {MOST_REFERENCES} references ${{KEY}}; write the values themselves"
        )
    return references


def hydra_setting_error(page: str, key: str) -> ConfigError:
    """Word the error of a page that would change this setting of Hydra's."""
    return ConfigError(
        f"{page}: {key} is set by a page; Hydra's own settings are given on the command line only"
    )


def _first_key(content: Any) -> str:
    """Give the dotted names that lead to the first value."""
    if not isinstance(content, dict) or not content:
        return ""
    name, inner = next(iter(content.items()))
    return f".{name}{_first_key(inner)}"


def _texts(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Give each text with its dotted key; names of keys are texts, too."""
    if isinstance(content, dict):
        for name, value in content.items():
            inner = f"{key}.{name}" if key else str(name)
            yield key, str(name)
            yield from _texts(value, inner)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _texts(value, key)
    elif not isinstance(content, (int, float)):
        yield key, str(content)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."


def _check_place(config_path: str) -> None:
    """Refuse a page that has the name of one of Hydra's, and would be read in its place."""
    group, _, name = config_path.removesuffix(".yaml").rpartition("/")
    if config_path.split("/")[0] != "hydra":
        return
    if group != LAUNCHERS:
        raise ConfigError(
            f"{config_path}: of Hydra's own settings only {LAUNCHERS} has pages beside its own"
        )
    if f"{name}.yaml" in ConfigStore.instance().list(LAUNCHERS):
        raise ConfigError(
            f"{config_path}: {name} is a launcher that is installed; give the page another name"
        )


def _check_size(config_path: str, file: Path) -> None:
    """Refuse a page that is huge, by itself or by aliases of aliases."""
    with file.open("rb") as stream:
        # What is read is bounded, whatever the file says of its size.
        content = stream.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ConfigError(
            f"{config_path}: the page is larger than {LARGEST_BYTES >> 20} MiB; a page holds the "
            "settings of a run, and data belong in a file that dataset.path names"
        )
    try:
        # In the graph of its nodes, what aliases repeat stands only once.
        size = _size(yaml.compose(content.decode(), Loader=yaml.SafeLoader), {})
    except UnicodeDecodeError:
        raise ConfigError(f"{config_path}: the page is not UTF-8 text; save it as UTF-8") from None
    except yaml.YAMLError:
        # Hydra reads the page again, and its error names the file.
        return
    except RecursionError:
        size = LARGEST + 1
    if size > LARGEST:
        raise ConfigError(
            f"{config_path}: the page is too large or too deep, with what its aliases repeat; "
            "write out what it sets"
        )


def _size(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Count the values of a node once its aliases are expanded.

    Raises:
        RecursionError: it is within itself, or too deep.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        mapping = isinstance(node, yaml.MappingNode)
        children = chain.from_iterable(node.value) if mapping else node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _check_defaults(defaults: Any, config_path: str) -> None:
    """Refuse defaults that are not names, leave the folders of pages, or are Hydra's."""
    for _, text in _texts(defaults):
        if "${" in text:
            raise ConfigError(f"{config_path}: its defaults say {_short(text)}; write the name")
        if ".." in text or "//" in text:
            raise ConfigError(
                f"{config_path}: its defaults ask for {_short(text)}; a page may only name others "
                "in the folders of pages"
            )
        settings = HYDRA.search(text)
        if settings and not config_path.startswith(f"{LAUNCHERS}/"):
            raise hydra_setting_error(config_path, settings[0].replace("/", "."))
