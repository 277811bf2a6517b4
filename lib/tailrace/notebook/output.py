"""The outputs of a notebook's cell: HTML, or an image with its caption. IPython is imported when one is shown."""

from __future__ import annotations

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
