"""Stock commands, unchanged, beside their own brokers: what an administrator types has the same outcome here.

Each line runs twice, with the stock `flux` in PATH: in an instance of stock brokers and in one of ours. Exit codes,
what is printed (without times, routes and process ids) and whether there is an error text have to be the same.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flux.testing import Instance

pytestmark = pytest.mark.interop

Outcome = tuple[int, str, bool]
"""Exit code, output, whether there was an error text."""

VOLATILE = (
    (r"time=[\d.]+ ms \([0-9a-f!]+\)", "time=T"),
    (r"seq=\d+$", "seq=N"),
    (r"^([\d: ]+): \d+$", r"\1: PID"),
    (r"\d\d:\d\d(:\d\d)?|\d{4}-\d\d-\d\dT\S+Z", "TIME"),
    (r"\d+(\.\d+)?(ms|s|m)\b", "T"),
    (r" +$", ""),
)

AREAS = {
    "ping": """
        flux ping -c2 -i0 broker
        flux ping --count=1 --rank=1 --pad=5 --userid kvs
        flux ping -c2 -b -i0 '1!kvs'
        flux ping -c1 any
        flux ping -c1 $(hostname)
        flux ping -c1 upstream
        flux ping -c1 99
        flux ping -c1 nosuch
        flux ping -c1 '1!nosuch'
        flux ping -c1 -r1 '0!kvs'
        flux ping -c1 -r nosuchhost kvs
        flux ping -b 0
    """,
    "attributes": """
        flux getattr size
        flux exec -r1 flux getattr rank
        flux getattr nosuch
        flux getattr size rank
        flux setattr rank 3
        flux setattr nosuch 3
        flux setattr nosuch
        flux setattr log-ring-size 3
        flux setattr log-stderr-level 5
        flux getattr log-stderr-level
        flux lsattr | grep -x -e rank -e size -e hostlist
        flux lsattr nosuch
    """,
    "modules": """
        flux module list | awk '{print $1, $3}' | grep -x -e 'heartbeat .' -e 'kvs .' | sort
        flux module list nosuch
        flux module stats -p period heartbeat
        flux module stats -t int -s 2 -p period heartbeat
        flux module stats -R kvs | grep -c time
        flux module stats -p nosuch kvs
        flux module stats nosuch
        flux module stats --rusage=nosuch kvs
        flux module stats -c kvs
        flux module stats -C kvs
        flux module stats -c nosuch
        flux module debug --set=0x11 kvs
        flux module debug --clearbit=0x10 kvs
        flux module debug --setbit=010 kvs
        flux module debug kvs
        flux module debug -C kvs
        flux module debug nosuch
        flux module load nosuch
        flux module load ./nosuch.so
        flux module load kvs
        flux module remove nosuch
        flux module unload nosuch
        flux module remove --force nosuch
        flux module reload nosuch
        flux module reload heartbeat period=3s
        flux module stats -p period heartbeat
        flux module reload heartbeat period=x
        flux module remove --force heartbeat; flux module load --name=pulse heartbeat && flux module remove pulse
        flux module load heartbeat
        flux module trace -t nosuch kvs
        flux module trace -d kvs
        show 3 'flux module trace -T kvs.lookup kvs' 'flux kvs get nosuch' | cut -d' ' -f2- | sort -u
    """,
    "events": """
        flux event pub it.a
        flux event pub -s it.b '{"x":1}'
        flux event pub -l it.c '{"x":' '1}'
        flux event pub -l -s -p it.d
        flux event pub --raw it.e text
        flux event pub
        flux event nosuch
        flux event sub -c x
        show 2 'flux event sub -c2 it.' 'flux event pub it.f {}'
        show 1 'flux event sub -c1 it.' 'flux event pub it.g'
    """,
    "log": """
        flux dmesg -C
        flux logger -s err -n app hello world
        flux logger --severity=debug --appname=app 'more'
        flux logger
        flux logger -s nosuch hello
        flux dmesg | grep ' app'
        flux dmesg --human --color=always | grep -c 'app.*hello'
        flux dmesg -c | grep -c ' app'
        flux dmesg | grep ' app'
        flux dmesg nosuch
        flux dmesg --color=nosuch
        show 1 'flux dmesg -f --new' 'flux logger -n app again' | cut -d' ' -f2-
    """,
    "exec": """
        flux exec -l echo hi | sort
        flux exec -x0 -l pwd
        flux exec -r1 -n cat
        flux exec -d /usr pwd
        flux exec -r1 -d /nosuch pwd
        echo in | flux exec -l cat | sort
        flux exec -r1 sh -c 'exit 3'
        flux exec -q sh -c 'kill -15 $$'
        flux exec nosuchcommand
        flux exec /etc/passwd
        flux exec -r 0-5 true
        flux exec -r nosuch true
        flux exec -x 0-1 true
        flux exec -j f1 true
        flux exec --waitable true
        flux exec --service=nosuch true
        flux exec --attach -r1 nosuch
        flux exec --bg --waitable --label=bg -r1 sh -c 'echo out; sleep 1000'
        flux exec --bg --label=bg -r1 true
        flux sproc ps -r1 -o '{state} {label} {cmd}'
        flux sproc kill -r1 15 bg
        flux sproc wait -r1 bg
        flux sproc wait -r1 bg
        flux sproc kill -r1 15 nosuch
        flux sproc ps -r 99
        flux sproc ps -s nosuch
    """,
    "cron": """
        flux cron list | wc -l
        flux cron interval -N mine -c 3 -a 2h 1h true
        flux cron interval -o timeout=5,rank=1 1h echo hi
        flux cron event -n 2 it.cron true
        echo '0 8 * * Mon true' | flux cron tab | cut -d' ' -f1-4
        flux cron interval 1h
        flux cron interval nosuch true
        flux cron event it.cron
        flux cron list | awk '{print $1, $2, $3, $4, $5, $6}'
        flux cron dump --key=typedata.interval 1
        flux cron dump 1 | sed 's/ =.*//' | sort
        flux cron dump 99
        flux cron stop 1
        flux cron stop 1
        flux cron start 1
        flux cron start 1
        flux cron stop 99
        flux cron delete 1
        flux cron delete 1
        flux cron delete --kill 2
        flux cron sync
        flux cron sync --epsilon=1s it.sync
        flux cron sync --disable
        flux cron nosuch
        echo 'x * * * * true' | flux cron tab
        echo '0 0 1 12 * true' | flux cron tab
        flux cron at nosuch true
        flux cron at 2001-01-01 true
    """,
    "overlay": """
        flux overlay status
        flux overlay status --summary
        flux overlay status --down
        flux overlay status --rank=1 --no-pretty
        flux overlay status --highlight=1 --color=always | wc -l
        flux overlay status --wait=full --timeout=10s
        flux overlay status --wait=partial --timeout=0.1s
        flux overlay status --wait=nosuch
        flux overlay status --rank=99
        flux overlay status -H nosuchhost
        flux overlay lookup 0-1
        flux overlay lookup nosuchhost
        flux overlay lookup 99
        flux overlay parentof 1
        flux overlay parentof 0
        flux overlay parentof 99
        flux overlay errors
        flux overlay disconnect 0
        flux overlay disconnect 99
        flux overlay trace -t nosuch
        show 1 "flux overlay trace -t event 'it.*'" 'flux event pub it.o' | cut -d' ' -f2-
        flux uptime
        flux uptime --nosuch
    """,
    "config": """
        flux config get
        flux config get nosuch
        flux config get --quiet nosuch
        flux config get --default=x nosuch
        flux config get --type=nosuch nosuch
        echo '{"a":{"b":3,"c":"3m","d":true,"e":"str","f":1.5,"g":[1,2]}}' | flux config load
        flux config get a
        flux exec -r1 flux config get a.b
        flux config get --type=fsd-integer a.c
        flux config get --type=fsd-real a.c
        flux config get --type=fsd a.e
        flux config get --type=integer a.f
        flux config get --type=real a.b
        flux config get --type=array a.g
        flux config get --type=boolean a.d
        flux config get --type=string a.e
        flux config get --config-path=/nosuch
        flux config load /nosuch
        flux config load /etc/passwd
        echo 'a={' | flux config load
        flux config get a.b
        flux config load </dev/null
        flux config reload
        flux config reload nosuch
        flux config builtin nosuch
        flux config nosuch
    """,
    "resource": """
        flux resource list
        flux resource list -no '{state} {nnodes} {ncores} {ngpus}'
        flux resource list -s nosuch
        flux resource status
        flux resource info
        flux resource R | head -c 40
        flux resource drain 1 bad node
        flux resource drain 1 again
        flux resource drain --force 1 again
        flux resource drain
        flux resource status -s drain
        flux resource undrain 1
        flux resource undrain 1
        flux resource drain 99 nosuch
        flux resource nosuch
    """,
}

SHOW = """
show() {  # LINES, a command that goes on, what makes it print: its first LINES lines
    seen=$(mktemp); stdbuf -oL sh -c "exec $2" > $seen 2> /dev/null & watcher=$!
    until [ $(wc -l < $seen) -ge $1 ]; do eval "$3" 2> /dev/null; done
    { kill $watcher; wait $watcher; } 2> /dev/null; head -n $1 $seen; rm $seen
}
"""


@pytest.fixture(scope="module")
def stock_uri(stock_flux: str) -> Iterator[str]:
    """URI of an instance of two stock brokers."""
    command = [stock_flux, "start", "-s2", "sh", "-c", "echo $FLUX_URI; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=outer(), text=True) as start:
        assert start.stdout is not None
        yield start.stdout.readline().strip()
        start.communicate("\n", timeout=60)


@pytest.fixture(scope="module")
def our_uri() -> Iterator[str]:
    """URI of an instance of two of our brokers, which nothing else has used."""
    with Instance(2) as instance:
        yield instance.uri


def outer() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("FLUX_", "PYTHON"))}


@pytest.fixture
def outcome(stock_flux: str, tmp_path: Path) -> Callable[[str, str], Outcome]:
    """What a line does in the instance with a URI."""
    path = f"{Path(stock_flux).parent}:{os.environ['PATH']}"

    def run(line: str, uri: str) -> Outcome:
        env = {**outer(), "FLUX_URI": uri, "PATH": path, "TMPDIR": str(tmp_path)}
        result = subprocess.run(
            ["sh", "-c", SHOW + line],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=55,
            cwd=tmp_path,
        )
        output = result.stdout
        for pattern, replacement in VOLATILE:
            output = re.sub(pattern, replacement, output, flags=re.MULTILINE)
        return result.returncode, output, bool(result.stderr)

    return run


@pytest.mark.parametrize("area", AREAS)
def test_same_outcome(area: str, stock_uri: str, our_uri: str, outcome: Callable[[str, str], Outcome]) -> None:
    lines = [line.strip() for line in AREAS[area].strip().splitlines()]
    outcomes = [(line, outcome(line, stock_uri), outcome(line, our_uri)) for line in lines]
    assert [(line, stocks, ours) for line, stocks, ours in outcomes if stocks != ours] == []
