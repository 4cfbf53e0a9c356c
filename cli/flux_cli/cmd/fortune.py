"""`flux fortune`: something to know, or to smile at (flux-fortune(1))."""

from __future__ import annotations

import random
import sys

from flux_cli.common import Parser

FACTS = (
    "`flux job explain ID` tells in order why a job is where it is: what held it, what it waits for, what it got.",
    "`flux jobtap test POLICY JOURNAL` replays jobs of the past through a policy, before you load it.",
    "A job policy is one file with one decorated function. `flux jobtap load ./policy.py` takes it at run time.",
    "`flux module reload NAME` exchanges a module under load. What is sent to it meanwhile waits.",
    "Jobs go on while the scheduler is exchanged: `flux module remove sched-simple; flux module load sched-backfill`.",
    "`flux batch` and `flux alloc` start a whole instance of Flux. It can do so again, as deep as you like.",
    "`flux pstree -a` shows the jobs of your jobs, and `flux top` lets you walk into them.",
    "`flux run -S key=val` sets any attribute that a site has given a meaning.",
    "`flux bulksubmit ./task {} ::: a b c` submits a job for each word. `--watch` shows what they write.",
    "Ctrl-C once asks, twice within two seconds cancels. Ctrl-C, then Ctrl-Z leaves the job running.",
    "`flux job attach` shows the output from its beginning, however late you come.",
    "`flux resource drain RANKS REASON` keeps jobs off a node without ending those that run on it.",
    "`flux start -s8` is a cluster of eight brokers on your laptop.",
    "`flux proxy JOBID` is a shell in the instance that a job is.",
    "What an instance is made of stands in one file: `flux plugins list`, and `flux plugins init` for one of your own.",
    "`flux modprobe list-dependencies sched` draws what the scheduler stands on.",
    "Every state that a job has been in is in its eventlog: `flux job eventlog -H ID`.",
    "`flux submit --dependency=afterok:ID` waits for another job to succeed; `afternotok` for it to fail.",
)
FUN = (
    "A job that waits for itself needs no scheduler, only patience.",
    "There are two hard things in scheduling: priorities, priorities, and off-by-one limits.",
    "All nodes are equal. Rank 0 is more equal than the others.",
    "The queue is never as long as the meeting about it.",
    "Your job will start soon. For some value of soon, and of your.",
    "It works on my broker.",
    "Today is a good day to set a time limit.",
)
VALENTINES = (
    "Roses are red, violets are blue: of all the free cores I would allocate two.",
    "My heart has one slot, and you are its task.",
    "Of all the events in my eventlog you are the one I wait for.",
    "Let us share a namespace.",
)
ART = (
    r"""
      0
     / \
    1   2
   / \ / \
  3  4 5  6
""",
    r"""
   ___
  |o o|   SCHED
  | - |   RUN
  |___|   CLEANUP
   | |    INACTIVE
""",
    r"""
  f l u x
   l u x
    u x
     x
""",
)
CATEGORIES = {"facts": FACTS, "fun": FUN, "valentines": VALENTINES, "art": ART}
_COLORS = range(91, 97)


def command(argv: list[str]) -> int:
    parser = Parser("fortune", "Print something to know, or to smile at.")
    choices = ("all", *CATEGORIES)
    parser.add_argument("-c", "--category", choices=choices, default="all", help=f"one of {', '.join(choices)}")
    chosen = parser.parse_args(argv).category
    texts = CATEGORIES.get(chosen) or [text for found in CATEGORIES.values() for text in found]
    text = random.choice(texts).strip("\n")
    print(f"\033[{random.choice(_COLORS)}m{text}\033[0m" if sys.stdout.isatty() else text)
    return 0
