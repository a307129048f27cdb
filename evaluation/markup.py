"""What the HTML pages of evaluations have in common."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image


def whole_page(title: str, style: str, body: str) -> str:
    """A page by itself, with nothing to load.

    Args:
        style: CSS. body: HTML.
    """
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>\n{style}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def img(image: Image.Image) -> str:
    """A picture as an element of a page, with all of it inside."""
    data = io.BytesIO()
    image.save(data, "WEBP", quality=85)
    return f'<img src="data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}" alt="">'
