#!/bin/sh
# The tour: run as the initial program of an instance,  flux start -s 4 docs/tour/tour.sh
set -e
here=$(dirname "$0")

say() { printf '\n-- %s\n' "$*"; }

say "an instance of $(flux getattr size) brokers"
flux module list

say "a parallel program: 8 tasks on 4 nodes add up pi through PMI"
flux run -N4 -n8 python3 "$here/pi.py"

say "what the instance remembers of it"
flux jobs -a
flux job eventlog "$(flux jobs -a -n -o '{id}')"

say "a site's own module, loaded now"
flux module load "$here/greeter.py"
flux rpc greeter.hello '{"who": "world"}'
flux module remove greeter
