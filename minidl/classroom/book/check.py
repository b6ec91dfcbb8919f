"""Checks of the finished site: it works offline, every link has a target, every figure is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from minidl.classroom.course import Lesson

LOADING = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
LOADING_LINKS = {"stylesheet", "preload", "icon", "shortcut icon", "modulepreload", "preconnect", "manifest"}


class Page(HTMLParser):
    """The addresses that one page loads, the targets of its links, its anchors, and its images."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.images: list[tuple[str, str]] = []  # (address, alternative text)
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.places |= {given.get("id", ""), given.get("name", "")}
        self.loads += [value for name, value in given.items() if (tag, name) in LOADING]
        if tag == "link" and given.get("rel", "") in LOADING_LINKS:
            self.loads.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img":
            self.images.append((given.get("src", ""), given.get("alt", "")))


def faults_of_site(site: Path, lessons: list[Lesson]) -> list[str]:
    """Returns one line for each fault. Each of ``lessons`` must show all its figures on its page."""
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]  # not the theme's
    pages = {path: Page(path) for path in found}
    faults = [] if site / "index.html" in pages else [f"{site.name}: there is no index.html"]
    for page in pages.values():
        where = page.path.relative_to(site).as_posix()
        faults += [f"{where}: {fault}" for fault in faults_of_page(page, pages)]
    for path in sorted(site.rglob("*.css")):
        for address in addresses_in_css(path.read_text(encoding="utf-8", errors="replace")):
            if is_outside(address):
                faults.append(f"{path.relative_to(site).as_posix()}: loads {address}")
    for lesson in lessons:
        own = pages.get(site / "lessons" / f"{lesson.path.stem}.html")
        faults += [f"lesson {lesson.number}: {fault}" for fault in faults_of_figures(lesson, own)]
    return faults


def faults_of_page(page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    for address in page.loads:
        if is_outside(address):
            yield f"loads {address}"
        elif not address.startswith("data:") and not target(page, address).is_file():
            yield f"loads {address}, which is not there"
    for address in page.links:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue  # a link to another site loads nothing
        file = target(page, address)
        if not file.is_file():
            yield f"a link leads to {address}, which is not there"
        elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].places:
            yield f"a link leads to {address}, a place that is not there"


def faults_of_figures(lesson: Lesson, page: Page | None) -> Iterator[str]:
    if page is None:
        yield "there is no page"
        return
    figures = [alt for src, alt in page.images if "_images/" in src]
    tree = ast.parse(lesson.path.read_text(encoding="utf-8"))
    saved = sum(isinstance(node, ast.Call) and ast.unparse(node.func) == "save" for node in ast.walk(tree))
    if len(figures) < saved:
        yield f"{len(figures)} figures are on the page, and the script saves {saved}"
    if not all(figures):
        yield "a figure has no text for readers who do not see it"


def is_outside(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https") or address.startswith("//")


def target(page: Page, address: str) -> Path:
    """The file to which an address on the page leads."""
    path = unquote(urlsplit(address).path)
    file = (page.path.parent / path).resolve() if path else page.path
    return file / "index.html" if path.endswith("/") else file


def addresses_in_css(text: str) -> list[str]:
    """The addresses that a style sheet loads."""
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", text)
    return [one or other for one, other in found]
