"""Pages from templates: one file each, needing no network, running no script but its own, showing texts as text."""

import base64
import hashlib
import math
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from attention_influence.report.visible import label, visible

_WARNING_CHARACTERS = 1_000


def render(template: str, script: str | None = None, **data: Any) -> str:
    """The page that a template makes of the data, with the style of all pages.

    `script` names the file of the only script that the page may run; without one it may run none.
    """
    code = None if script is None else _resource(script)
    policy = (
        "'none'" if code is None else f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_resource("style.css")),
            script=None if code is None else Markup(code),
            script_policy=Markup(policy),
            **data,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("attention_influence.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "label": lambda value: label(str(value)),
        "shown": lambda value: visible(str(value)[:_WARNING_CHARACTERS]),
        "code": _code,
        "count": _count,
        "decimal": _decimal,
        "percent": _percent,
    }
    environment.filters |= filters
    return environment


def _code(text: str) -> Markup:
    """The text escaped, what stands between grave accents as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _count(value: float | None) -> str:
    return "—" if value is None else f"{value:,.0f}"


def _decimal(value: float | None, digits: int = 4) -> str:
    return "—" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def _percent(value: float | None, digits: int = 0) -> str:
    return "—" if value is None or not math.isfinite(value) else f"{value:.{digits}%}".replace("-", "−")


def _resource(name: str) -> str:
    return files("attention_influence.report").joinpath(name).read_text(encoding="utf-8")
