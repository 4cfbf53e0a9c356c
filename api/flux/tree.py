"""A tree of labels, drawn as pstree(1) draws processes (flux-pstree(1); ``flux.util.Tree``)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["STYLES", "Tree"]

STYLES = {
    "box": ("│   ", "├── ", "└── ", "    "),
    "compact": ("│ ", "├─", "└─", "  "),
    "ascii": ("|   ", "|-- ", "`-- ", "    "),
}
"""What stands before the label of a node: below a branch that goes on, at a branch, at the last one, below that."""


class Tree:
    """A node and what is below it.

    Args:
        label: its text. prefix: a text before the drawing.
        combine_children: whether `append` only counts a leaf that is like one that is there already.
    """

    def __init__(self, label: str, prefix: str = "", combine_children: bool = False) -> None:
        self.label = label
        self.prefix = prefix
        self.combine_children = combine_children
        self.children: list[Tree] = []
        self._count = 1
        self._leaves: dict[tuple[str, str], Tree] = {}

    def add(self, label: str, prefix: str = "", combine_children: bool = False) -> Tree:
        """Add a node with this label below this one, whatever is there already; returns it."""
        child = Tree(label, prefix, combine_children)
        self.children.append(child)
        return child

    def append(self, label: str, prefix: str = "") -> Tree:
        """Add a node with this label below this one; returns it, or the one that it is combined with."""
        return self.append_tree(Tree(label, prefix, self.combine_children))

    def append_tree(self, tree: Tree) -> Tree:
        """Add a tree below this node; returns it, or the leaf that it is combined with."""
        key = (tree.prefix, tree.label)
        if self.combine_children and not tree.children:
            if key in self._leaves:
                self._leaves[key]._count += 1
                return self._leaves[key]
            self._leaves[key] = tree
        self.children.append(tree)
        return tree

    def render(self, style: str = "box", level: int | None = None, skip_root: bool = False) -> None:
        """Print the drawing.

        Args:
            style: one of STYLES. KeyError when it is none.
            level: how many generations below this node to draw; default all.
            skip_root: draw the trees below this node, and not the node.
        """
        for tree in self.children if skip_root else [self]:
            depth = None if level is None else level - 1 if skip_root else level
            print("\n".join(tree.lines(style, depth=depth)))

    def lines(self, style: str, above: str = "", connector: str = "", depth: int | None = None) -> Iterator[str]:
        """The drawing, from this node down.

        Args:
            style: one of STYLES. above, connector: what stands before the label.
            depth: how many generations below this node; default all.
        """
        label = f"{self._count}*[{self.label}]" if self._count > 1 else self.label
        prefix = f"{self.prefix} " if self.prefix else ""
        yield f"{prefix}{above}{connector}{label}"
        if depth is not None and depth < 1:
            return
        goes_on, branch, last, blank = STYLES[style]
        below = above + ("" if not connector else blank if connector == last else goes_on)
        for child in self.children:
            here = last if child is self.children[-1] else branch
            yield from child.lines(style, below, here, None if depth is None else depth - 1)
