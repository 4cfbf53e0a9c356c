"""`flux lsattr`: list broker attributes (flux-lsattr(1))."""

from __future__ import annotations

from flux_cli.common import Parser, open_flux, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux


def command(argv: list[str]) -> int:
    parser = Parser("lsattr", "List the attributes of the broker.")
    parser.add_argument("-v", "--values", action="store_true", help="with their values")
    parser.add_argument("--json", action="store_true", help="print a JSON object of names and values")
    args = parser.parse_args(argv)
    with open_flux() as handle:
        names = sorted(handle.rpc("attr.list").get()["names"])
        values = _values(handle, names) if args.values or args.json else {}
    if args.json:
        print_json(values)
        return 0
    for name in names:
        print(f"{name:<39} {values.get(name) or '-'}" if args.values else name)
    return 0


def _values(handle: Flux, names: list[str]) -> dict[str, str | None]:
    answers = [(name, handle.rpc("attr.get", {"name": name})) for name in names]
    values: dict[str, str | None] = {}
    for name, answer in answers:
        try:
            values[name] = answer.get()["value"]
        except FileNotFoundError:
            values[name] = None  # an attribute without a value: known, but not set
    return values
