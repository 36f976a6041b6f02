"""Build the site of the documents: lay them out in build/documents, then let MkDocs make build/site of them.

Laws: a document stays where it is and links as GitHub does; here it gets the site's name, and each of its links leads to the
site's page of what it led to: another document, or a page that shows a file, or a folder, of the repository. No link leaves
the site for a repository whose address nobody knows. A warning of MkDocs fails the build.

usage: .venv/bin/python scripts/build_site.py [FOLDER]     (build)
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from posixpath import relpath
from urllib.parse import unquote, urlsplit

import reference
from check_docs import CODE_SPAN, FENCE, LINK, ROOT
from mkdocs.commands.build import build
from mkdocs.config import load_config

# Documents that are not in docs/, by their names on the site. What has no Chinese is shown in English there, too.
ELSEWHERE = {
    "PROTOCOL.md": "protocol.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "sdk/README.md": "sdk/package.md",
    "sdk/emulator/README.md": "sdk/emulator.md",
}
# And those of folders that have a page of their own: examples/taro/README.md is examples/taro.md.
OF_FOLDERS = re.compile(r"(examples/[\w-]+|preview)/README\.md")
# The READMEs are GitHub's front page; the site has one of its own.
FRONT = "index.md"
NAMED_BY_FILE = re.compile(r"\[(?P<name>[\w./-]+\.md)\]\((?P<target>[^)\s]+)\)")
SWITCH = re.compile(r"\[(?:中文|English)\]\([^)]*\)[.。]? ?")
# What the site looks like, by the names that mkdocs.yml knows.
LOOKS = {"site.css": "docs/site.css", "logo.svg": "src/dazi/web/page/favicon.svg"}
# A line that ends, or the next that begins, with what is Chinese: a browser would show the break as a space, which Chinese has not.
CHINESE = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef“”"
BREAK = re.compile(rf"(?<=[{CHINESE}])\n *(?=[{CHINESE}])")
LANGUAGES = {
    ".py": "python", ".ts": "typescript", ".js": "javascript", ".mjs": "javascript", ".json": "json", ".yml": "yaml",
    ".yaml": "yaml", ".toml": "toml", ".conf": "nginx", ".service": "ini", ".html": "html", ".wxml": "html", ".css": "css", ".wxss": "css",
}  # fmt: skip


class Site:
    """The documents, as the site names them."""

    def __init__(self, files: list[str], folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._shown: dict[str, None] = {}
        self.documents = {file: name for file in files if (name := page_of(file))}

    def lay_out(self) -> None:
        """Write everything that MkDocs reads."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for file, name in self.documents.items():
            self._write(name, self._translate(file, (ROOT / file).read_text("utf-8")))
        for file in self._files:
            if file.startswith("docs/images/"):
                copy = self._folder / picture_of(file)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, copy)
        for name, source in LOOKS.items():
            shutil.copy(ROOT / source, self._folder / name)
        for name, content in reference.pages().items():
            self._write(name, content)
        done: set[str] = set()
        while missing := [path for path in self._shown if path not in done]:
            for path in missing:
                done.add(path)
                self._write(source_of(path), self._show(path))

    def _write(self, name: str, content: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")

    def _translate(self, file: str, page: str) -> str:
        """Give a document the site's links, outside of code; what leads to its other language is the site's own business."""
        parts, end = [], 0
        for code in code_of(page):
            parts += [self._prose(file, page[end : code.start()]), code.group()]
            end = code.end()
        return "".join([*parts, self._prose(file, page[end:])])

    def _prose(self, file: str, text: str) -> str:
        def lead(link: re.Match[str]) -> str:
            target = next(filter(None, link.groups()))
            # MkDocs leads Markdown's links from the file to its page's folder, and leaves those of HTML as they are.
            place = folder_of(self.documents[file]) if link[3] else PurePosixPath(self.documents[file]).parent
            return link.group().replace(target, self._lead(file, target, place))

        def name(link: re.Match[str]) -> str:
            return f"[{self._title(path_of(file, link['target']), link['name'])}]({link['target']})"

        return BREAK.sub("", LINK.sub(lead, NAMED_BY_FILE.sub(name, SWITCH.sub("", text))))

    def _title(self, path: str, otherwise: str) -> str:
        """Return the heading of a document, as which a reader of the site knows it."""
        if path not in self.documents:
            return otherwise
        return (ROOT / path).read_text("utf-8").partition("\n")[0].removeprefix("# ")

    def _lead(self, file: str, target: str, place: PurePosixPath) -> str:
        """Lead from a place on the site to what a document's link leads to in the repository."""
        parts = urlsplit(target)
        if parts.scheme or parts.netloc or not parts.path:
            return target
        page = self._page(path_of(file, target))
        fragment = f"#{parts.fragment}" if parts.fragment and page != FRONT else ""
        return relpath(page, place) + fragment

    def _page(self, path: str) -> str:
        """Name the site's page of a file or folder, in the language of whoever asks."""
        if path in {"README.md", "README.zh-CN.md"}:
            return FRONT
        if path in self.documents:
            return self.documents[path].replace(".zh.md", ".md")
        if path.startswith("docs/images/"):
            return picture_of(path)
        self._shown.setdefault(path)
        return source_of(path)

    def _show(self, path: str) -> str:
        """Make the page of a file, or of what is in a folder."""
        head = f"---\nsearch:\n  exclude: true\n---\n\n# `{path}`\n\n"
        if (ROOT / path).is_dir():
            inside = [file for file in self._files if file.startswith(f"{path}/")]
            here = PurePosixPath(source_of(path)).parent
            return head + "".join(f"- [{file}]({relpath(self._page(file), here)})\n" for file in inside)
        language = LANGUAGES.get(PurePosixPath(path).suffix, "")
        return f"{head}`````{language}\n{(ROOT / path).read_text('utf-8').rstrip()}\n`````\n"


def with_all(
    nav: list[dict[str, list[dict[str, str] | str]]], site: Site
) -> list[dict[str, list[dict[str, str] | str]]]:
    """Return the navigation with the documents that mkdocs.yml does not name, at the end of "How to"."""
    named = {
        name
        for part in nav
        for pages in part.values()
        for page in pages
        if isinstance(page, dict)
        for name in page.values()
    }
    more = [name for name in sorted(site.documents.values()) if not name.endswith(".zh.md") and name not in named]
    return [{title: [*pages, *(more if title == "How to" else ())] for title, pages in part.items()} for part in nav]


def path_of(file: str, target: str) -> str:
    """Return what a link of a document leads to, as a path in the repository."""
    return os.path.normpath(PurePosixPath(file).parent / unquote(urlsplit(target).path))


def page_of(file: str) -> str:
    """Name the site's page of a document, or ""."""
    base = file.replace(".zh-CN.md", ".md")
    folder = OF_FOLDERS.fullmatch(base)
    if not file.endswith(".md") or not (folder or base in ELSEWHERE or file.startswith("docs/")):
        return ""
    name = f"{folder[1]}.md" if folder else ELSEWHERE.get(base) or base.removeprefix("docs/")
    return name.replace(".md", ".zh.md") if base != file else name


def picture_of(path: str) -> str:
    """Name a picture on the site; without a dot before its language, which would be taken for that of a page."""
    return path.removeprefix("docs/").replace(".zh-CN.", "-zh.")


def folder_of(name: str) -> PurePosixPath:
    """Return where a document's page is on the site: a folder of its own, below its language."""
    page, _, language = name.removesuffix(".md").partition(".")
    return PurePosixPath(language) / (page if page != "index" else "")


def source_of(path: str) -> str:
    """Name the page that shows a file or a folder; without a dot, for what follows one would be taken for a language."""
    return f"source/{path.replace('.', '-')}.md"


def code_of(page: str) -> list[re.Match[str]]:
    """Return where code stands in a page, in order: fences, and spans outside of them."""
    prose = FENCE.sub(lambda fence: " " * len(fence.group()), page)
    return sorted([*FENCE.finditer(page), *CODE_SPAN.finditer(prose)], key=lambda code: code.start())


def main() -> None:
    """Lay out and build. Ends with status 1 where a link, an anchor or a page is wrong."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").absolute()
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    site = Site([name for name in sorted(set(names)) if (ROOT / name).is_file()], folder / "documents")
    site.lay_out()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ["NO_MKDOCS_2_WARNING"] = "true"
    places = {"docs_dir": str(folder / "documents"), "site_dir": str(folder / "site")}
    configuration = load_config(str(ROOT / "mkdocs.yml"), strict=True, **places)
    configuration.nav = with_all(configuration.nav or [], site)
    logging.getLogger("jieba").setLevel(logging.WARNING)  # it tells of its dictionary, from its import on
    build(configuration)


if __name__ == "__main__":
    sys.exit(main())
