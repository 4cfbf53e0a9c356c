"""Jobs: their ids and jobspecs, and what a program can do with them (manual page ``flux.job``).

Names resolve on first use (see flux._lazy), so that importing this package costs nothing.
"""

from __future__ import annotations

from flux._lazy import install

TYPE_CHECKING = False  # typing takes longer to import than a small command takes to run

_NAMES = {
    "AnnotationsInfo": "info",
    "BatchConfig": "batch_config",
    "EventLogEvent": "event",
    "ExceptionInfo": "info",
    "FluidGenerator": "fluid",
    "FluxExecutor": "executor",
    "FluxExecutorFuture": "executor",
    "InfoList": "info",
    "JobEventWatchFuture": "event",
    "JobException": "event",
    "JobID": "JobID",
    "JobInfo": "info",
    "JobInfoFormat": "info_format",
    "JobInfoLookupRPC": "lookup",
    "JobKVSLookup": "lookup",
    "JobKVSLookupFuture": "lookup",
    "JobList": "list",
    "JobListIdRPC": "list",
    "JobListIdsFuture": "list",
    "JobListRPC": "list",
    "JobOutput": "output_watch",
    "JobResultFuture": "wait",
    "JobStats": "stats",
    "JobWatcher": "watcher",
    "JobWaitFuture": "wait",
    "JobWaitResult": "wait",
    "Jobspec": "Jobspec",
    "JobspecV1": "Jobspec",
    "JournalConsumer": "journal",
    "JournalEvent": "journal",
    "MAIN_EVENTS": "event",
    "SubmitFuture": "submit",
    "cancel": "kill",
    "cancel_async": "kill",
    "event_wait": "event",
    "event_watch": "event",
    "event_watch_async": "event",
    "get_job": "list",
    "get_username": "info",
    "id_encode": "JobID",
    "id_parse": "JobID",
    "job_fields_to_attrs": "info_format",
    "job_info_lookup": "lookup",
    "job_kvs": "kvs",
    "job_kvs_guest": "kvs",
    "job_kvs_lookup": "lookup",
    "job_list": "list",
    "job_list_id": "list",
    "job_list_inactive": "list",
    "job_output": "output_watch",
    "job_raise": "kill",
    "job_raise_async": "kill",
    "kill": "kill",
    "kill_async": "kill",
    "output_watch": "output_watch",
    "output_watch_lines": "output_watch",
    "output_event_watch": "output_watch",
    "output_event_watch_async": "output_watch",
    "output_watch_async": "output_watch",
    "output_watch_lines_async": "output_watch",
    "result": "wait",
    "result_async": "wait",
    "resulttostr": "info",
    "statetostr": "info",
    "statustostr": "info",
    "submit": "submit",
    "submit_async": "submit",
    "timeleft": "timeleft",
    "validate_jobspec": "Jobspec",
    "wait": "wait",
    "wait_async": "wait",
}
"""Public name -> submodule that defines it."""

install(__name__, _NAMES)

if TYPE_CHECKING:
    from flux.job.batch_config import BatchConfig as BatchConfig
    from flux.job.event import EventLogEvent as EventLogEvent
    from flux.job.event import JobEventWatchFuture as JobEventWatchFuture
    from flux.job.event import JobException as JobException
    from flux.job.event import event_wait as event_wait
    from flux.job.event import event_watch as event_watch
    from flux.job.event import event_watch_async as event_watch_async
    from flux.job.executor import FluxExecutor as FluxExecutor
    from flux.job.executor import FluxExecutorFuture as FluxExecutorFuture
    from flux.job.fluid import FluidGenerator as FluidGenerator
    from flux.job.info import JobInfo as JobInfo
    from flux.job.info_format import JobInfoFormat as JobInfoFormat
    from flux.job.JobID import JobID as JobID
    from flux.job.JobID import id_encode as id_encode
    from flux.job.JobID import id_parse as id_parse
    from flux.job.Jobspec import Jobspec as Jobspec
    from flux.job.Jobspec import JobspecV1 as JobspecV1
    from flux.job.Jobspec import validate_jobspec as validate_jobspec
    from flux.job.journal import JournalConsumer as JournalConsumer
    from flux.job.journal import JournalEvent as JournalEvent
    from flux.job.kill import cancel as cancel
    from flux.job.kill import cancel_async as cancel_async
    from flux.job.kill import job_raise as job_raise
    from flux.job.kill import job_raise_async as job_raise_async
    from flux.job.kill import kill as kill
    from flux.job.kill import kill_async as kill_async
    from flux.job.kvs import job_kvs as job_kvs
    from flux.job.kvs import job_kvs_guest as job_kvs_guest
    from flux.job.list import JobList as JobList
    from flux.job.list import get_job as get_job
    from flux.job.list import job_list as job_list
    from flux.job.list import job_list_id as job_list_id
    from flux.job.list import job_list_inactive as job_list_inactive
    from flux.job.lookup import JobInfoLookupRPC as JobInfoLookupRPC
    from flux.job.lookup import JobKVSLookup as JobKVSLookup
    from flux.job.lookup import JobKVSLookupFuture as JobKVSLookupFuture
    from flux.job.lookup import job_info_lookup as job_info_lookup
    from flux.job.lookup import job_kvs_lookup as job_kvs_lookup
    from flux.job.output_watch import JobOutput as JobOutput
    from flux.job.output_watch import job_output as job_output
    from flux.job.output_watch import output_event_watch as output_event_watch
    from flux.job.output_watch import output_event_watch_async as output_event_watch_async
    from flux.job.output_watch import output_watch as output_watch
    from flux.job.output_watch import output_watch_async as output_watch_async
    from flux.job.output_watch import output_watch_lines as output_watch_lines
    from flux.job.output_watch import output_watch_lines_async as output_watch_lines_async
    from flux.job.stats import JobStats as JobStats
    from flux.job.submit import SubmitFuture as SubmitFuture
    from flux.job.submit import submit as submit
    from flux.job.submit import submit_async as submit_async
    from flux.job.timeleft import timeleft as timeleft
    from flux.job.wait import JobResultFuture as JobResultFuture
    from flux.job.wait import JobWaitFuture as JobWaitFuture
    from flux.job.wait import JobWaitResult as JobWaitResult
    from flux.job.wait import result as result
    from flux.job.wait import result_async as result_async
    from flux.job.wait import wait as wait
    from flux.job.wait import wait_async as wait_async
    from flux.job.watcher import JobWatcher as JobWatcher
