"""`flux getattr`: the value of a broker attribute (flux-getattr(1))."""

from __future__ import annotations

from flux_cli.common import Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from flux.core.handle import Flux


def command(argv: list[str]) -> int:
    parser = Parser("getattr", "Print the value of a broker attribute.")
    parser.add_argument("name", metavar="NAME", help="of the attribute; `flux lsattr` lists them")
    args = parser.parse_args(argv)
    with open_flux() as handle:
        try:
            print(handle.attr_get(args.name))
        except FileNotFoundError:
            refuse_unknown(handle, args.name)
    return 0


def refuse_unknown(handle: Flux, name: str) -> NoReturn:
    """Say that there is no such attribute, and what is nearest."""
    from difflib import get_close_matches

    near = get_close_matches(name, handle.rpc("attr.list").get()["names"], 1)
    hint = f", did you mean {near[0]}?" if near and near[0] != name else ""
    die(f"attribute {name} is not set{hint}")
