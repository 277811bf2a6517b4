"""The outputs of a notebook's cell: HTML, or an image with its caption. IPython is imported when one is shown."""

from __future__ import annotations

from typing import Any

WIDTH_PX = 860
"""Of a figure in a notebook."""


def show_html(html: str) -> None:
    """Show `html` as an output of the cell."""
    from IPython.display import HTML, display

    display(HTML(html))  # type: ignore[no-untyped-call]


def show_figure(png: bytes, alt: str, caption: str) -> None:
    """Show an image with its caption. JupyterLab strips SVG of a notebook that it does not trust; a PNG stays."""
    from IPython.display import Image, Markdown, display

    display(Image(png, width=WIDTH_PX, alt=alt))  # type: ignore[no-untyped-call]
    display(Markdown(f"*{caption}*"))  # type: ignore[no-untyped-call]


class ReplacedText:
    """One output of the running cell, created by the first text and replaced by the next ones."""

    def __init__(self) -> None:
        self._id: Any = None

    def __call__(self, text: str) -> None:
        from IPython.display import display, update_display

        content = {"text/plain": text}
        if self._id is None:
            self._id = display(content, raw=True, display_id=True).display_id  # type: ignore[no-untyped-call]
        else:
            update_display(content, display_id=self._id, raw=True)  # type: ignore[no-untyped-call]
