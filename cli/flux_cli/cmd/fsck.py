"""`flux fsck`: check the content of the key-value store, and mend it (flux-fsck(1))."""

from __future__ import annotations

import argparse
import time

from flux_cli.common import Parser, die, open_flux, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.kvs.check import Damage
    from flux.kvs.roots import Checkpoint

__all__ = ["command"]


def _parser() -> Parser:
    parser = Parser("fsck", "Check the content of the key-value store.")
    parser.add_argument("-v", "--verbose", action="store_true", help="list keys on stderr as they are checked")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when all is well")
    parser.add_argument("-r", "--rootref", metavar="BLOBREF", help="check what is under this directory")
    parser.add_argument("-R", "--repair", action="store_true", help="take out what is damaged, keep what is whole")
    parser.add_argument("-j", "--job-aware", action="store_true", help="repair: move damaged jobs as a whole")
    return parser


def command(argv: list[str]) -> int:
    from flux.kvs.check import Check

    args = _parser().parse_args(argv)
    with open_flux() as handle:
        if args.repair:
            _check_unloaded(handle)
        found, root = _choose(handle, args)
        check = Check(handle, told=_tell if args.verbose else None)
        for damage in check.damages(root.rootref):
            found.append(damage)
            _tell(f"{damage.key or '.'}: {damage.text}")
        if not args.quiet or found:
            _tell(f"Total errors: {len(found)}")
        if found and args.repair:
            _repair(handle, root, found, args.job_aware)
    return 1 if found else 0


def _check_unloaded(handle: Flux) -> None:
    from flux.kvs.roots import kvs_is_loaded

    if kvs_is_loaded(handle):
        die("the kvs module would overwrite the checkpoint: unload it before using --repair")


def _choose(handle: Flux, args: argparse.Namespace) -> tuple[list[Damage], Checkpoint]:
    """The root to check, and what is wrong with those that would have come before it."""
    from flux.content import digest_of
    from flux.kvs.roots import Checkpoint, checkpoints

    if args.rootref:
        digest_of(args.rootref)
        handle.rpc("content.flush", nodeid=0).get()
        return [], Checkpoint(args.rootref, timestamp=time.time())
    on_record = checkpoints(handle)
    if not on_record:
        die("there is no checkpoint: nothing was put on record yet (flux kvs sync does that)")
    found, root = _first_whole(handle, on_record) if args.repair else ([], on_record[0])
    if not args.quiet:
        date = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(root.timestamp))
        print(f"Checking integrity of checkpoint from {date}", flush=True)
    return found, root


def _first_whole(handle: Flux, on_record: list[Checkpoint]) -> tuple[list[Damage], Checkpoint]:
    """The newest checkpoint whose root directory can be read, and what is wrong with those after it."""
    from flux.content import digest_of, load_async
    from flux.kvs.check import Damage, sound_entries

    found: list[Damage] = []
    for checkpoint in on_record:
        try:
            sound_entries(load_async(handle, digest_of(checkpoint.rootref)).get())
        except OSError as exc:
            found.append(Damage("", f"the checkpoint {checkpoint.rootref} cannot be used: {exc}"))
            _tell(found[-1].text)
        else:
            return found, checkpoint
    return die("no checkpoint can be read: restore a dump (flux-restore(1))")


def _repair(handle: Flux, root: Checkpoint, found: list[Damage], job_aware: bool) -> None:
    from flux.kvs.mend import LOST, mend
    from flux.kvs.roots import maxdirent, put_checkpoint

    hash_name = handle.attr_get("content.hash")
    damages = [damage for damage in found if damage.key]
    rootref, done = mend(handle, root.rootref, hash_name, maxdirent(handle), damages, job_aware)
    for mended in done:
        _tell(f"{mended.key}: {mended.text}")
    put_checkpoint(handle, rootref)
    moved = sum(mended.moved for mended in done)
    _tell(f"Updated the checkpoint: {rootref}" + (f", with {LOST}" if moved else ""))
    _tell(f"Total repairs: {moved}")
    _tell(f"Total unlinked: {len(done) - moved}")


def _tell(text: str) -> None:
    warn("fsck", text)
