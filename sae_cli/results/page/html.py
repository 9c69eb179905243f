"""Templates to a page that stands by itself: style and scripts inside, nothing else allowed in."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from sae_cli.core.errors import in_one_line
from sae_cli.core.text import number

HERE = Path(__file__).parent
ASSETS, TEMPLATES = HERE / "assets", HERE / "templates"
STYLE, CHARTS = "page.css", "chart.umd.min.js"


def fill(template: str, scripts: Sequence[str], data: Any, **values: Any) -> bytes:
    """Fill in a template; every text is escaped, whoever wrote it.

    Args:
        template: its name.
        scripts: names of assets.
        data: plain values for the scripts.
        values: what the template shows.
    """
    style = _asset(STYLE)
    texts = [_asset(name) for name in (CHARTS, *scripts)]
    page = _environment().get_template(template)
    text = page.render(
        policy=_policy(style, texts), style=style, scripts=texts, data=_as_data(data), **values
    )
    # A file name or a text of JSON may hold half a letter, which UTF-8 has no bytes for.
    return text.encode("utf-8", "replace")


def _policy(style: Markup, scripts: Sequence[Markup]) -> str:
    """Word the policy of a page: what is inside of it and the pictures beside it, nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {_hash(style)}",
            "img-src data: 'self' file:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> Markup:
    """Give a file of the package as it stands, which is what its hash is of."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


def _as_data(data: Any) -> Markup:
    """Write JSON in which no text can end the element that holds it."""
    return htmlsafe_json_dumps(data, dumps=json.dumps, separators=(",", ":"), allow_nan=False)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
        # Templates do not change while a process runs.
        auto_reload=False,
    )
    environment.filters["number"] = number
    return environment


def _harmless(value: Any) -> Any:
    """Show what is no letter as an escape, in every text but what is marked as the package's."""
    # A picture is a long text, and must stay whole.
    if type(value) is not str or value.isprintable():
        return value
    return "\n".join(map(in_one_line, value.split("\n")))
