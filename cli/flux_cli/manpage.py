"""Manual pages: Markdown files `flux-NAME.SECTION.md`, found, summarised and laid out for a terminal.

The Markdown used: `#` headings, paragraphs, `-` lists, fenced or indented code, definition lists (a term line, then
lines that begin with `:   `), tables, **bold**, *italic* and `code`.
"""

from __future__ import annotations

import os
import re
import textwrap

_HERE = os.path.dirname(os.path.abspath(__file__))
_FOLDERS = (
    os.path.join(_HERE, "man"),  # installed
    os.path.join(_HERE, "..", "..", "docs", "man"),  # in a source tree
)
_SECTIONS = "157348"
_INDENT = 7

BOLD, UNDERLINE, PLAIN = "\033[1m", "\033[4m", "\033[0m"
_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])|\[([^\]]+)\]\(([^)]+)\)")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()<>#+.!|-])")


def find(name: str) -> str | None:
    """Path of the manual page of a command, or of a page named in full, such as flux-environment; None without."""
    stems = [name] if name == "flux" or name.startswith("flux-") else [f"flux-{name}", name]
    for folder in _FOLDERS:
        for stem in stems:
            for section in _SECTIONS:
                path = os.path.join(folder, f"{stem}.{section}.md")
                if os.path.isfile(path):
                    return os.path.normpath(path)
    return None


def summary(name: str) -> str:
    """The line that the NAME section has for a command, "" when there is no page."""
    path = find(name)
    if path is None:
        return ""
    with open(path, encoding="utf-8") as stream:
        head = stream.read(2000)
    match = re.search(r"^#+ *NAME *\n+(.*?)(?:\n\s*\n|\n#|\Z)", head, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    text = " ".join(match[1].split()) if match else ""
    return plain(re.split(r" -{1,2} | – | — ", text, maxsplit=1)[-1])


def plain(text: str) -> str:
    """Text without inline markup."""
    return _style(text, False)


def render(markdown: str, width: int = 80, color: bool = False) -> str:
    """A page laid out as man(1) does.

    Args:
        width: columns, at least 40 are used.
        color: with bold and underlined text, as terminal sequences.
    """
    page = _Page(max(width, 40), color)
    for kind, lines in _blocks(markdown):
        page.add(kind, lines)
    return "\n".join(page.lines).strip("\n") + "\n"


def _blocks(markdown: str) -> list[tuple[str, list[str]]]:
    """The page as (kind, lines): heading, text, item, term, definition, code, table."""
    blocks: list[tuple[str, list[str]]] = []
    fence = ""
    open_block = False  # whether the next line of text continues the last block
    for line in markdown.expandtabs().splitlines():
        marker = line.strip()
        if fence:
            if marker.startswith(fence):
                fence, open_block = "", False
            else:
                blocks[-1][1].append(line)
            continue
        if marker.startswith(("```", "~~~")):
            fence = marker[:3]
            blocks.append(("code", []))
            continue
        kind = _kind(line, blocks[-1][0] if blocks else "", open_block)
        if kind == "":
            open_block = False
        elif open_block and blocks and kind in ("text", "more") and blocks[-1][0] in ("text", "item", "definition"):
            blocks[-1][1].append(marker)
        elif kind in ("code", "table") and blocks and blocks[-1][0] == kind and open_block:
            blocks[-1][1].append(line)
        else:
            blocks.append(("text" if kind == "more" else kind, [line]))
            open_block = kind != "heading"
    return _with_terms(blocks)


def _kind(line: str, previous: str, open_block: bool) -> str:
    text = line.strip()
    if not text:
        return ""
    if line.startswith("#"):
        return "heading"
    if line.startswith(":") and line[1:2] == " ":
        return "definition"
    if re.match(r"([-*+]|\d+\.) ", text):
        return "item"
    if text.startswith("|"):
        return "table"
    if line.startswith("    "):
        within = previous in ("definition", "item")
        return ("more" if open_block else "further") if within or previous == "further" else "code"
    return "text"


def _with_terms(blocks: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """A text block before a definition is the term that it defines."""
    for i, (kind, lines) in enumerate(blocks[:-1]):
        if kind == "text" and blocks[i + 1][0] == "definition":
            blocks[i] = ("term", lines)
    return blocks


class _Page:
    """Lines of a page under construction."""

    def __init__(self, width: int, color: bool) -> None:
        self.width = width
        self.color = color
        self.lines: list[str] = []
        self.last = ""

    def add(self, kind: str, lines: list[str]) -> None:
        if kind != self.last or kind not in ("item", "term"):
            self._space(kind)
        getattr(self, f"_add_{kind}")(lines)
        self.last = kind

    def _space(self, kind: str) -> None:
        close = self.last in ("heading", "term") and kind != "heading"
        if self.lines and not close:
            self.lines.append("")

    def _add_heading(self, lines: list[str]) -> None:
        marks, _, text = lines[0].partition(" ")
        text = _style(text.strip().rstrip("#").strip(), False)
        indent = 0 if len(marks) <= 2 else 3
        self.lines += _wrap_visible(f"{BOLD}{text}{PLAIN}" if self.color else text, self.width, indent, indent + 4)

    def _add_text(self, lines: list[str]) -> None:
        self._wrap(" ".join(line.strip() for line in lines), _INDENT, _INDENT)

    def _add_term(self, lines: list[str]) -> None:
        for line in lines:
            self._wrap(line.strip(), _INDENT, _INDENT + 4)

    def _add_definition(self, lines: list[str]) -> None:
        first = lines[0].lstrip(":").strip()
        self._wrap(" ".join([first, *(line.strip() for line in lines[1:])]), _INDENT + 7, _INDENT + 7)

    def _add_further(self, lines: list[str]) -> None:
        self._wrap(" ".join(line.strip() for line in lines), _INDENT + 7, _INDENT + 7)

    def _add_item(self, lines: list[str]) -> None:
        depth = (len(lines[0]) - len(lines[0].lstrip())) // 2 * 2
        mark, _, rest = lines[0].strip().partition(" ")
        bullet = "•" if mark in "-*+" else mark
        text = " ".join([rest.strip(), *lines[1:]])
        self._wrap(f"{bullet} {text}", _INDENT + depth, _INDENT + depth + len(bullet) + 1)

    def _add_code(self, lines: list[str]) -> None:
        body = textwrap.dedent("\n".join(lines)).strip("\n")
        self.lines += [" " * (_INDENT + 4) + line if line else "" for line in body.splitlines()]

    def _add_table(self, lines: list[str]) -> None:
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        rows = [[_style(cell, False) for cell in row] for row in rows if not set("".join(row)) <= set("-: ")]
        columns = max(map(len, rows), default=0)
        rows = [row + [""] * (columns - len(row)) for row in rows]
        widths = [max(len(row[i]) for row in rows) for i in range(columns)]
        for row in rows:
            cells = [f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=False)]
            left = " " * _INDENT + "".join(f"{cell}  " for cell in cells)
            room = max(self.width - len(left), 20)
            wrapped = textwrap.wrap(row[-1], room) or [""]
            self.lines.append((left + wrapped[0]).rstrip())
            self.lines += [" " * len(left) + line for line in wrapped[1:]]

    def _wrap(self, text: str, first: int, further: int) -> None:
        """Add a paragraph. It is laid out without its markup, which takes no room on the screen."""
        styled = _style(text, self.color)
        self.lines += _wrap_visible(styled, self.width, first, further)


def _style(text: str, color: bool) -> str:
    def replace(match: re.Match[str]) -> str:
        code, bold, italic, label, target = match.groups()
        if label is not None:
            return label if "://" not in target else f"{label} <{target}>"
        shown = code or bold or italic
        if not color:
            return str(shown)
        return f"{UNDERLINE if italic else BOLD}{shown}{PLAIN}"

    return _ESCAPED.sub(r"\1", _INLINE.sub(replace, text))


_SEQUENCE = re.compile(r"\033\[\d+m")


def _wrap_visible(text: str, width: int, first: int, further: int) -> list[str]:
    """Wrap at spaces, counting what is seen; a style that goes over the end of a line is taken up on the next."""
    lines: list[str] = []
    line, length, indent = "", 0, first
    for word in text.split():
        size = len(_SEQUENCE.sub("", word))
        if line and indent + length + 1 + size > width:
            lines.append(" " * indent + line)
            line, length, indent = "", 0, further
        line += f" {word}" if line else word
        length += size + (1 if length else 0)
    if line:
        lines.append(" " * indent + line)
    return _close_styles(lines)


def _close_styles(lines: list[str]) -> list[str]:
    style = ""
    closed = []
    for line in lines:
        body = line.lstrip(" ")
        text = line[: len(line) - len(body)] + style + body
        sequences = _SEQUENCE.findall(line)
        if sequences:
            style = "" if sequences[-1] == PLAIN else sequences[-1]
        closed.append(text + PLAIN if style else text)
    return closed
