"""Draws lesson.png, the README's picture of a lesson: some cells of a real notebook, in JupyterLab's own style.

    python .github/images/lesson.py        needs the lab extra and Chromium or Chrome; no network, nothing is run

Run it again when one of these cells has changed.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from PIL import Image, ImageChops

from minillm._files import write_whole
from minillm.course.lessons.notebooks import lesson_path
from minillm.course.page.web_font import FAMILY, hangul_css

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_name("lesson.png")
LESSON = "02_3"
CELLS = (
    "### One head",
    "show(OneHead, core=True)",
    "What has the head learned to look at?",
    "to_verb = torch.stack",
)  # in this order
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT, COLOURS = 860, 2400, 128
CSS = f"""
body, .jp-RenderedHTMLCommon, pre {{ font-family: "{FAMILY}", system-ui, sans-serif; }}
.highlight pre, .jp-OutputArea-output pre {{ font-family: "{FAMILY}", monospace !important; }}
body {{ padding: 12px !important; }} .jp-Notebook {{ padding: 0; }} .anchor-link {{ display: none; }}
"""


def chosen_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """After each other, the first cell with each text of CELLS; ValueError naming the one that is gone."""
    cells, rest = [], iter(notebook.cells)
    for text in CELLS:
        cell = next((cell for cell in rest if text in cell.source), None)
        if cell is None:
            raise ValueError(
                f"lesson {LESSON} has no cell with {text!r} after the ones before: choose CELLS anew"
            )
        cells.append(cell)
    return cells


def page() -> str:
    """The chosen cells as one HTML page with the style, the font and the figures inside, and no scripts."""
    notebook = nbformat.read(lesson_path(LESSON, ROOT / "notebooks"), as_version=4)
    notebook.cells = chosen_cells(notebook)
    html, _ = HTMLExporter(template_name="lab").from_notebook_node(notebook)
    html = re.sub(r"<script.*?</script>|<link[^>]*>", "", html, flags=re.DOTALL)
    return html.replace("</head>", f"<style>{CSS}{hangul_css(html)}</style></head>")


def photograph(html: str) -> Image.Image:
    """What a browser shows of it, without the empty rest below."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser found: install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "page.html").write_text(html, encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={here / 'profile'}", f"--window-size={WIDTH},{HEIGHT}"]
        command += [f"--screenshot={here / 'page.png'}", (here / "page.html").as_uri()]
        subprocess.run(command, check=True, timeout=120, capture_output=True)
        image = Image.open(io.BytesIO((here / "page.png").read_bytes())).convert("RGB")
    box = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox()
    return image.crop((0, 0, WIDTH, min(HEIGHT, box[3] + 12)))


def main() -> None:
    buffer = io.BytesIO()
    photograph(page()).quantize(COLOURS).save(buffer, "PNG", optimize=True)
    write_whole(PICTURE, buffer.getvalue())
    print(f"{PICTURE.relative_to(ROOT)}: {len(buffer.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
