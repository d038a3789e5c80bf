"""Shows the examples in docstrings as code: as plain Markdown, `>>>` would be a quotation."""

import textwrap
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Puts a fence around every paragraph that begins with `>>>`."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every module, class, function and attribute that is read."""
        if obj.docstring is None or ">>>" not in obj.docstring.value:
            return
        paragraphs = textwrap.dedent(obj.docstring.value).split("\n\n")
        obj.docstring.value = "\n\n".join(
            f"```pycon\n{p.strip()}\n```" if p.lstrip().startswith(">>>") else p for p in paragraphs
        )
