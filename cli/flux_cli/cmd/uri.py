"""`flux uri`: the URI of an instance (flux-uri(1))."""

from __future__ import annotations

from flux_cli.common import Parser, RawFormatter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    from flux_cli.uri import resolve

    parser = Parser("uri", "Print the URI of an instance.", **_epilog({"-h", "--help"}.isdisjoint(argv)))
    parser.add_argument("target", metavar="TARGET", help="a job id, a path (ID/ID, .., /), SCHEME:... or a URI")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--remote", action="store_true", help="in the form for other hosts, ssh://")
    form.add_argument("--local", action="store_true", help="in the form for its own host, local://")
    parser.add_argument("--wait", action="store_true", help="wait until the job has one")
    args = parser.parse_args(argv)
    uri = resolve(args.target, args.wait)
    print(uri.remote if args.remote else uri.local if args.local else uri)
    return 0


def _epilog(is_short: bool) -> dict[str, Any]:
    """What the parser says at its end: which schemes there are, for which plugins have to be looked for."""
    if is_short:
        return {}
    from flux.uri import FluxURIResolver

    lines = [f"  {name + ':':<10}  {text}" for name, text in FluxURIResolver().plugins().items()]
    text = "\n".join(["SCHEME is one of:", *lines, "", "`flux help uri` shows the manual page flux-uri(1)."])
    return {"epilog": text, "formatter_class": RawFormatter}
