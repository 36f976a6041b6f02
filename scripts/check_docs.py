"""Check that every relative link and every anchor in the project's Markdown files leads somewhere.

Laws: only files that git knows, or would add, are read; text inside code is no link; anchors are GitHub's; addresses
of other hosts are not asked, so the check needs no network.
"""

# a script, no package

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n.*?^ {0,3}\1[`~]*[ \t]*$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(
    r"""\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)  # [text](target "title"), ![image](target)
      | ^\ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$       # [name]: target
      | \b(?:href|src)="([^"]+)"                   # the HTML that Markdown allows
    """,
    re.MULTILINE | re.VERBOSE,
)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
EXPLICIT_ANCHOR = re.compile(r"""<[a-z]+[^>]*\b(?:id|name)="([^"]+)\"""")


def main() -> int:
    """Print each broken link as `file: target: reason`, and tell by the exit status whether there was one."""
    pages = documents(ROOT)
    faults = [fault for page in pages for fault in broken_links(page)]
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    sys.stdout.write(f"{len(pages)} documents, {len(faults)} broken links\n")
    return 1 if faults else 0


def documents(root: Path) -> list[Path]:
    """Return the Markdown files that git knows, or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout  # a constant
    return sorted(root / name for name in set(names.splitlines()) if (root / name).exists())


def broken_links(page: Path) -> Iterator[str]:
    """Yield a sentence for each link of `page` that leads nowhere."""
    for target in links(page.read_text("utf-8")):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not path.exists():
            yield f"{page.relative_to(ROOT)}: {target}: there is no such file"
        elif not path.is_relative_to(ROOT):
            yield f"{page.relative_to(ROOT)}: {target}: leads out of the repository"
        elif parts.fragment and path.suffix == ".md" and unquote(parts.fragment) not in anchors(path):
            yield f"{page.relative_to(ROOT)}: {target}: there is no such heading"


def links(markdown: str) -> list[str]:
    """Return the targets of all links of a page, as they are written."""
    prose = CODE_SPAN.sub("", FENCE.sub("", markdown))
    return [next(filter(None, match.groups())) for match in LINK.finditer(prose)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives to a page: one for each heading, numbered where they repeat."""
    prose = FENCE.sub("", page.read_text("utf-8"))
    seen: Counter[str] = Counter()
    found = set(EXPLICIT_ANCHOR.findall(prose))
    for heading in HEADING.findall(prose):
        slug = slugify(heading)
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def slugify(heading: str) -> str:
    """Return a heading's anchor: lower case, without markup and punctuation, hyphens for spaces."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", shown).lower().replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
