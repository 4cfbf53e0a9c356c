"""flux kvs: stock commands on stock, stock commands on our broker and our commands on it give the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flux.testing import Instance

pytestmark = pytest.mark.interop
COMMANDS = """
put a=1 b.c=2 b.d=hello b.e.f=x longer-name=3 x=
get a b.c
get a nokey
get b
get ""
get -l a b.c x
get -t a
get -r -t a
get -u -c 2 a
get --watch --uniq --count=1 a
get --watch nokey
get -S a
get --stream nokey
get -N none a
put a
put =1
put .=5
put -O -s q=1
put -r raw=abc
get -r raw
put -t tree={"ver":1,"type":"val","data":"YQ=="}
get tree
put -t tree=foo
put -A app=1 app=2
get app
put -A b=1
put -N none a=1
ls b
ls -1
ls -F b
ls -RF b
ls -dF b a
ls -w 0 b
ls a b
ls nokey a
dir b
dir -R b
dir -d b
dir a
dir nokey
unlink nokey
unlink -f nokey
unlink b
unlink b.e.f
unlink -R b
put t.a=1 t.b=2
link t.a lnk
link -T ns t.a nslnk
link t
readlink lnk nslnk
readlink -o lnk nslnk
readlink -k lnk nslnk
readlink -o -k nslnk
readlink t.a
get lnk
get nslnk
link loop loop
get loop
link t tl
ls tl
ls -F tl
mkdir d1 d2.d3
dir d2
copy t t2
dir t2
copy nokey z
copy lnk lnk2
readlink lnk2
move t2 t3
dir t3
get t2.a
move nokey z
wait 1
wait
version -N none
getroot -N none
namespace create n1
namespace create n1
put -N n1 k=1
get -N n1 k
version -N n1
copy -S n1 k fromn1
get fromn1
move -D n1 fromn1 back
get fromn1
get -N n1 back
put -S -N n1 z=1
namespace remove n1
get -N n1 k
namespace remove primary
namespace list
sync
eventlog append -t 45 log one
eventlog append -t 46.25 log two {"k":[1,2,{"z":null}],"f":1.5,"t":true}
eventlog append -t 150 log exception {"type":"e"}
eventlog append -t 44 log bad []
eventlog get log
eventlog get -u log
eventlog get -H log
eventlog get --color=always log
eventlog get -S log
eventlog get -c 2 log
eventlog get -w -c 2 log
eventlog get nolog
eventlog wait-event log two
eventlog wait-event -v log two
eventlog wait-event -q log two
eventlog wait-event -H -v log two
eventlog wait-event -t 0.1 log never
"""
SCRIPT = """
import shlex, subprocess, sys
for line in sys.stdin.read().split("\\n"):
    words = line.split(" ") if '"{' in line or "{" in line else shlex.split(line)
    if line:
        done = subprocess.run([sys.argv[1], "kvs", *words], capture_output=True, text=True, timeout=60)
        print(repr((line, done.returncode, done.stdout.rstrip(), bool(done.stderr))))
"""


def outcomes(text: str) -> list[str]:
    """What each command gave: (command, exit code, output, whether it complained)."""
    return re.sub("sha1-[0-9a-f]{40}", "REF", text).splitlines()


def run(words: list[str]) -> list[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLUX_", "PYTHON"))}
    done = subprocess.run(words, env=env, input=COMMANDS, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return outcomes(done.stdout)


def test_commands_on_stock_and_here(stock_flux: str, tmp_path: Path) -> None:
    script = tmp_path / "commands.py"
    script.write_text(SCRIPT)
    expected = run([stock_flux, "start", sys.executable, str(script), stock_flux])
    own = str(Path(sys.executable).with_name("flux"))
    for client in (stock_flux, own):
        with Instance(1) as instance:
            done = instance.run(sys.executable, str(script), client, input=COMMANDS, timeout=240)
        found = outcomes(done.stdout)
        assert [pair for pair in zip(expected, found, strict=True) if pair[0] != pair[1]] == []
