"""Job ids: RFC 19 examples, round trips, generation, and the names of flux.job."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.job import JobID, fluid, id_encode, id_parse
from flux.job.fluid import FluidGenerator, timestamp_of

EXAMPLE = 6731191091817518
any_id = st.integers(0, 2**64 - 1)


@given(any_id)
def test_every_encoding_parses_back(value: int) -> None:
    jobid = JobID(value)
    for encoding in fluid.ENCODINGS:
        text = jobid.encode(encoding)
        assert id_parse(text) == id_parse(f"  {text}\n") == value
        assert JobID(text).orig == text
    assert pickle.loads(pickle.dumps(jobid)) == copy.copy(jobid) == value
    assert json.dumps({"id": jobid}) == f'{{"id": {value}}}'


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("dec", "6731191091817518"),
        ("f58plain", "fuZZybuNNy"),
        ("hex", "0x17e9fb8df16c2e"),
        ("dothex", "0017.e9fb.8df1.6c2e"),
        ("kvs", "job.0017.e9fb.8df1.6c2e"),
        ("words", "reform-remote-galileo--heart-package-academy"),
        ("emoji", "👩💅📓😸👑🚓"),
    ],
)
def test_rfc_19_examples(encoding: str, text: str) -> None:
    assert getattr(JobID(EXAMPLE), encoding) == id_encode(EXAMPLE, encoding) == text
    assert id_parse(text) == id_parse("ƒuZZybuNNy") == EXAMPLE
    assert [JobID(value).emoji for value in (0, 1, 576)] == ["😃", "😄", "😄😃"]
    assert JobID(0).f58plain == "f1" and repr(JobID(EXAMPLE)) == f"JobID({EXAMPLE})"


@pytest.mark.parametrize(
    ("env", "prefix"),
    [
        ({"LC_ALL": "C.UTF-8"}, "ƒ"),
        ({"LC_ALL": "C.UTF-8", "FLUX_F58_FORCE_ASCII": "1"}, "f"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, "f"),
    ],
)
def test_the_prefix_follows_the_terminal(env: dict[str, str], prefix: str) -> None:
    program = "from flux.job import JobID; import sys; sys.stdout.buffer.write(str(JobID(0)).encode())"
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "FLUX_F58"))}
    run = subprocess.run([sys.executable, "-c", program], env=keep | env, capture_output=True, check=True)
    assert run.stdout.decode() == f"{prefix}1"


@pytest.mark.parametrize(
    "text",
    [
        *("", "f", "f0", "fl", "0x", "0xg", "1.2", "job.1", "-1", "1_0", "٣", "f" + "z" * 11, str(2**64)),
        *(
            "0x1" + "0" * 16,
            "no-words",
            "reform-remote",
            "academy-academy-academy--academy",
            "acid--acid--acid",
        ),
        *("\U0001f603a", "\U0001f680\U0001fae0", "\U0001f603" * 8, "\U0001f38c" * 7),
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Flux jobid"):
        JobID(text)


@given(st.text(max_size=24))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        value = id_parse(text)
    except ValueError as e:
        assert "is not a valid Flux jobid" in str(e)
    else:
        assert 0 <= value < 2**64


def test_refusals_say_what_there_is() -> None:
    with pytest.raises(ValueError, match="unknown job id encoding 'roman', expected one of dec, hex"):
        JobID(1).encode("roman")
    for value in (-1, 2**64):
        with pytest.raises(OverflowError, match="unsigned 64 bit"):
            JobID(value)


@given(st.lists(st.floats(-0.002, 0.01), max_size=50), st.integers(0, 16383), st.integers(0, 2**39))
def test_generated_ids_increase_whatever_the_clock_does(steps: list[float], rank: int, start: int) -> None:
    now = [100.0]
    generator = FluidGenerator(rank, start=start, clock=lambda: now[0])
    last = (start << 24) - 1
    for step in steps:
        now[0] += step
        value = generator.generate()
        assert value > last and (value >> 10) & 0x3FFF == rank
        last = value


def test_more_ids_than_a_millisecond_holds() -> None:
    generator = FluidGenerator(3, clock=lambda: 7.0)
    ids = [generator.generate() for _ in range(3000)]
    assert ids == sorted(set(ids)) and timestamp_of(ids[-1]) == 2 and generator.timestamp() == 0


def test_generators_do_not_collide() -> None:
    generators = [FluidGenerator(rank, clock=lambda: 0.0) for rank in range(4)]
    ids = [g.generate() for g in generators for _ in range(100)]
    assert len(set(ids)) == len(ids)


def test_generator_limits() -> None:
    with pytest.raises(ValueError, match="generator id 16384"):
        FluidGenerator(16384)
    with pytest.raises(ValueError, match="start time"):
        FluidGenerator(0, start=1 << 40)
    now = [0.0]
    generator = FluidGenerator(0, start=(1 << 40) - 1, clock=lambda: now[0])
    now[0] = 1.0
    with pytest.raises(OverflowError, match="40 bits"):
        generator.generate()


LAZY = """
import sys, flux.job
assert not [m for m in sys.modules if m.startswith('flux.job.')], sorted(sys.modules)
assert 'JobID' in dir(flux.job)
import flux.job.JobID, flux.job.Jobspec
from flux.job import JobID, Jobspec, JobspecV1
assert JobID is sys.modules['flux.job.JobID'].JobID is flux.job.JobID
assert Jobspec is sys.modules['flux.job.Jobspec'].Jobspec and issubclass(JobspecV1, Jobspec)
from flux.job.JobID import id_parse
assert flux.job.id_parse is id_parse
try:
    flux.job.nosuch
except AttributeError as e:
    assert "'flux.job' has no attribute 'nosuch'" in str(e), e
else:
    raise SystemExit('nosuch was found')
"""


def test_the_class_wins_over_its_module_and_nothing_is_imported_early() -> None:
    run = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_groups_of_dothex_need_no_leading_zeros() -> None:
    assert (id_parse("0.0.1.a"), id_parse("job.0.0.0.1")) == (0x1000A, 1)
    for wrong in ("0.0.1", "0.0.0.0.1", "0.0.0.12345", "0.0..1"):
        with pytest.raises(ValueError, match="valid Flux jobid"):
            id_parse(wrong)


def test_submodules_are_found_without_an_import_of_their_own() -> None:
    script = (
        "import flux.job, flux.resource; from flux.job import *; submit\n"
        "print(flux.resource.list.__name__, flux.job.list.__name__, flux.job.kill)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert shown.stdout.startswith("flux.resource.list flux.job.list <function kill")
