"""`flux python`: the Python that this Flux runs on (flux-python(1))."""

from __future__ import annotations

import os
import sys

from flux_cli.common import Parser, die

_OWN = ("--get-path", "--list-versions", "--help", "-h")


def command(argv: list[str]) -> int:
    if argv[:1] and argv[0] in _OWN:
        return _tell(argv)
    words = [sys.executable, *argv]
    try:
        os.execv(words[0], words)
    except OSError as exc:
        die(f"{words[0]}: {exc.strerror}")


def _tell(argv: list[str]) -> int:
    parser = Parser("python", "Run the Python interpreter of this Flux.")
    parser.add_argument("--get-path", action="store_true", help="print where it has the package flux")
    parser.add_argument("--list-versions", action="store_true", help="print its version, as python3.12")
    args = parser.parse_args(argv)
    if args.list_versions:
        print(f"python{sys.version_info.major}.{sys.version_info.minor}")
    if args.get_path:
        import flux

        print(os.path.dirname(os.path.dirname(os.path.abspath(flux.__file__))))
    return 0
