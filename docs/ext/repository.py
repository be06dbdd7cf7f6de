# SPDX-License-Identifier: MIT
"""Sphinx extension: documents and links outside of the folder docs/.

A page can include a document of the repository, such as a README. Its links are adapted. If the page has its own title,
the text is put below it::

    ```{include} ../../kmod/README.md
    ```

A Markdown link to a file of the repository leads to a page with its source. A link with a fragment leads to the line
that defines this symbol: ``[shirq_claim()](../../kmod/source.c#shirq_claim)``. If the file or the symbol does not
exist, there is a warning. Such a link to a file also works on web sites that show the repository.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"

_logger = logging.getLogger(__name__)
#: The URL scheme of links to source, between the Markdown text and the transform.
_SCHEME = "repository:"
_INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"(^ *```[\s\S]*?^ *```$)", re.MULTILINE)
_LANGUAGES = {
    ".c": "c",
    ".h": "c",
    ".py": "python",
    ".toml": "toml",
    ".patch": "diff",
    ".sh": "bash",
    ".config": "text",
}


def definition(text: str, symbol: str) -> int | None:
    """The number of the first line of ``text`` that defines ``symbol``, in C, in Python, in TOML or in a patch.

    A method is ``Class.method``.
    """
    if "." in symbol and re.search(rf"^class {symbol.partition('.')[0]}\b", text, re.MULTILINE):
        holder, _, symbol = symbol.partition(".")
        first = definition(text, holder)
        assert first is not None
        line = definition("\n".join(text.splitlines()[first:]), symbol)
        return line and first + line
    name = re.escape(symbol)
    patterns = (
        rf"#\s*define\s+{name}\b",
        rf"(?:struct|enum|union)\s+{name}\s*\{{",
        # A function of C begins in the first column; a prototype is not a definition.
        rf"[A-Za-z_][\w\s*]*?\b{name}\s*\((?!.*\);)",
        # A table of functions or a constant, at the beginning of a line.
        rf"(?:static\s+|const\s+)+[\w\s*]*?\b{name}\b\s*(?:\[\w*\])?\s*=",
        rf"TRACE_EVENT\({name}\b|DEFINE_EVENT\(\w+, {name}\b",
        rf"\s*(?:async\s+)?def\s+{name}\b|\s*class\s+{name}\b|{name}\s*(?::[^=]*)?=",
        rf"\[{name}\]$",
    )
    wanted = re.compile(rf"[+ ]?(?:{'|'.join(patterns)})")
    return next((number for number, line in enumerate(text.splitlines(), 1) if wanted.match(line)), None)


def links(text: str) -> Iterator[str]:
    """The targets of all Markdown links of a text that are not in a block of code."""
    for part in _CODE.split(text):
        if not _CODE.fullmatch(part):
            yield from (found["target"] for found in _LINK.finditer(part))


def included() -> dict[Path, str]:
    """The documents of the repository that pages of this documentation include, each with the page's name."""
    pages: dict[Path, str] = {}
    for page in sorted(DOCS.rglob("*.md")):
        for path in _INCLUDE.findall(page.read_text()):
            pages[(page.parent / path).resolve()] = page.relative_to(DOCS).with_suffix("").as_posix()
    return pages


def _rebased(target: str, file: Path, docname: str, pages: dict[Path, str]) -> str:
    """The target of a link in ``file``, adapted for the page ``docname``."""
    place, hash_, fragment = target.partition("#")
    if not place or re.match(r"[a-z]+:", target):
        return target
    path = (file.parent / place).resolve()
    folder = posixpath.dirname(docname)
    if path.is_dir() and path / "README.md" in pages:
        path = path / "README.md"
    if path in pages:
        return posixpath.relpath(pages[path], folder or ".") + ".md" + hash_ + fragment
    if path.is_relative_to(DOCS):
        return posixpath.relpath(path.relative_to(DOCS).as_posix(), folder or ".") + hash_ + fragment
    if path == TOP / "README.md":
        return posixpath.relpath("index", folder or ".") + ".md"
    if not path.is_relative_to(TOP) or not path.is_file():
        _logger.warning(
            "the link's target %s is not a file of the repository", target, location=docname, type="repository"
        )
    return f"{_SCHEME}{path.relative_to(TOP).as_posix() if path.is_relative_to(TOP) else target}{hash_}{fragment}"


def _adapt(text: str, file: Path, docname: str, pages: dict[Path, str]) -> str:
    parts = _CODE.split(text)
    for number in range(0, len(parts), 2):
        parts[number] = _LINK.sub(
            lambda found: f"[{found['text']}]({_rebased(found['target'], file, docname, pages)})", parts[number]
        )
    return "".join(parts)


def _demoted(text: str) -> str:
    """A document with all headings one level lower."""
    parts = _CODE.split(text)
    parts[::2] = [re.sub(r"^#", "##", part, flags=re.MULTILINE) for part in parts[::2]]
    return "".join(parts)


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    pages = included()
    page = Path(app.env.doc2path(docname))
    has_title = source[0].startswith("# ")

    def content(found: re.Match[str]) -> str:
        file = (page.parent / found[1]).resolve()
        app.env.note_dependency(str(file), docname=docname)
        return _adapt(_demoted(file.read_text()) if has_title else file.read_text(), file, docname, pages)

    if _INCLUDE.search(source[0]):
        source[0] = _INCLUDE.sub(content, source[0])
    else:
        source[0] = _adapt(source[0], page, docname, pages)


def _page_of(path: str) -> str:
    return f"source/{path}"


class _Links(SphinxPostTransform):
    """Turns links to files of the repository into links to their pages."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        for node in list(self.document.findall(nodes.reference)):
            uri = node.get("refuri", "")
            if not uri.startswith(_SCHEME):
                continue
            path, _, symbol = uri.removeprefix(_SCHEME).partition("#")
            if self.app.builder.format != "html":
                node.replace_self(node.children)
                continue
            anchor = ""
            if symbol:
                line = definition((TOP / path).read_text(), symbol)
                if line is None:
                    _logger.warning("%s does not define %s", path, symbol, location=node, type="repository")
                anchor = f"#L-{line}"
            self.app.builder.env.repository_files.add(path)  # type: ignore[attr-defined]
            node["refuri"] = self.app.builder.get_relative_uri(self.env.docname, _page_of(path)) + anchor


def _begin(app: Sphinx) -> None:
    app.env.repository_files = getattr(app.env, "repository_files", set())  # type: ignore[attr-defined]


def _sources(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file to which a document links."""
    builder: Any = app.builder
    for path in sorted(app.env.repository_files):  # type: ignore[attr-defined]
        language = _LANGUAGES.get(Path(path).suffix, "text")
        text = builder.highlighter.highlight_block(
            (TOP / path).read_text(), language, linenos=False, lineanchors="L", location=path
        )
        yield _page_of(path), {"title": path, "body": f"<h1>{escape(path)}</h1>{text}"}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", _begin)
    app.connect("source-read", _read)
    app.connect("html-collect-pages", _sources)
    app.add_post_transform(_Links)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
