"""What is decided for guests of each request of the builtin modules: service -> methods.

A topic that is new needs a word here, in OPEN or in CLOSED (RFC 12; what stock Flux lets guests ask is in neither more
nor less). OPEN means that the role check lets a guest through; the service may still show it its own jobs only.
"""

from __future__ import annotations

__all__ = ["CLOSED", "EVERY_MODULE_CLOSED", "EVERY_MODULE_OPEN", "OPEN", "topics"]

OPEN = {
    "attr": "get list",
    "barrier": "enter",
    "broker": "conf-builtin",
    "config": "get",
    "content-files": "stats-get",
    "content-s3": "stats-get",
    "content-sqlite": "stats-get",
    "event": "publish subscribe unsubscribe",
    "groups": "get stats-get",
    "job-exec": "critical-ranks shell-barrier override",
    "job-info": "lookup update-lookup eventlog-watch eventlog-watch-cancel update-watch update-watch-cancel",
    "job-ingest": "submit",
    "job-list": "list list-id list-attrs job-stats stats-get",
    "job-manager": "raise raiseall kill killall urgency memo update getattr getinfo stats-get alloc-query queue-list "
    "explain queue-status events-journal-cancel",
    "kvs": "lookup lookup-plus getroot wait-version commit fence setroot-pause setroot-unpause",
    "kvs-watch": "lookup taken",
    "local": "hold",
    "module": "list disconnect",
    "overlay": "health topology parent stats-get",
    "resource": "status sched-status topo-get acquire-cancel journal-cancel",
    "service": "add remove",
    "state-machine": "get wait",
}
CLOSED = {
    "barrier": "relay leave",
    "attr": "set rm",
    "broker": "getenv setenv",
    "config": "load reload follow change-all prepare undo",
    "content": "load load-many store store-batch store-many flush dropcache mmap-add mmap-remove register-backing "
    "unregister-backing checkpoint-get checkpoint-put",
    "content-backing": "load load-many validate validate-many store store-batch store-many checkpoint-get "
    "checkpoint-put gc-info gc-pending mark sweep",
    "content-gc": "hold",
    "cron": "create list start stop delete sync",
    "feasibility": "check",
    "groups": "join leave update",
    "job-exec": "start expiration",
    "job-ingest": "getinfo",
    "job-manager": "submit sched-hello sched-ready exec-hello resource-status list wait drain idle purge purge-id "
    "housekeeping-kill set-batch-timeout events-journal queue-enable queue-start jobtap jobtap-query",
    "kvs": "fetch load-path guest-begin guest-end relaycommit namespace-create namespace-remove namespace-list "
    "dropcache",
    "log": "append dmesg clear setattr stats-get",
    "module": "load reload remove status debug trace",
    "overlay": "monitor reparent trace disconnect-subtree disconnect-parent wait-children",
    "rc": "run abort",
    "resource": "topo-reduce acquire acquire-mute get journal drain undrain reload monitor-waitup "
    "monitor-force-down expiration-update",
    "rexec": "exec resume write kill credit attach wait list",
    "ring": "forward register",
    "runat": "push",
    "sched": "alloc free cancel prioritize expiration resource-status",
    "shutdown": "start",
    "state-machine": "monitor post sd-notify",
}
EVERY_MODULE_OPEN = "ping rusage stats-get disconnect cancel"
EVERY_MODULE_CLOSED = "stats-clear debug shutdown config-reload config-sync"


def topics(decided: dict[str, str], every_module: str, modules: list[str]) -> set[str]:
    """The full topics of one of the tables, with what every module has for these modules."""
    own = {f"{service}.{method}" for service, methods in decided.items() for method in methods.split()}
    return own | {f"{module}.{method}" for module in modules for method in every_module.split()}
