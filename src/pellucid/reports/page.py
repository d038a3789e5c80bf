"""Templates into text, the page and the notebook's cell, and text into a file."""

from pathlib import Path

import jinja2

from pellucid.errors import InputError


def render_template(name: str, **values: object) -> str:
    """Fill the template of that name; every value is escaped, a missing one an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pellucid.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values)


def write_page(page: str, path: str | Path) -> Path:
    """Write a page, and the folders it lies in; returns its path.

    Raises `InputError` where nothing can be written there.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"Expected a path that can be written to, got {str(target)!r}: {error.strerror}.\n"
            "  Save the page under another name, or in a folder of your own."
        ) from error
    return target
