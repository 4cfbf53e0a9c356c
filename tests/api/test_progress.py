"""Bars at the bottom of the terminal (flux.progress)."""

from __future__ import annotations

import os

import pytest

from flux.progress import Bottombar, ElapsedTime, ProgressBar

SIZE = os.terminal_size((30, 10))


def test_a_bar_fills() -> None:
    bar = ProgressBar(total=4, style="steps", before="{what} ", after=" {percent:.0f}%", what="jobs")
    bar.size = SIZE
    assert str(bar) == f"jobs │{' ' * 20}│ 0%"
    bar.update(advance=2)
    assert str(bar) == f"jobs │{'█' * 9 + '▄' + ' ' * 9}│ 50%"
    bar.update(advance=1, what="more jobs")
    assert len(str(bar)) == SIZE.columns
    bar.update(advance=5)
    assert str(bar) == f"more jobs │{'█' * 13}│ 200%"


def test_nothing_to_do_is_no_progress() -> None:
    bar = ProgressBar(total=0)
    bar.size = SIZE
    assert str(bar).endswith("│   0.0%")


def test_what_is_left_on_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: SIZE)
    bar = ProgressBar(total=2, autostop=True).start()
    bar.update()
    capsys.readouterr()
    bar.update()
    shown = capsys.readouterr().out
    assert shown.endswith(f"{bar}\n")
    assert "\033[r" in shown, "the whole screen scrolls again"
    bar.stop()
    assert capsys.readouterr().out == ""


def test_values_are_attributes(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bottombar(lambda bar, width: f"i={bar.i} of {width}", i=0)
    bar.size = SIZE
    bar.update(i=7)
    assert (bar.i, str(bar), str(Bottombar(a=1, b=2))) == (7, "i=7 of 30", "a=1 b=2")
    with pytest.raises(AttributeError, match="other"):
        bar.other  # noqa: B018
    with pytest.raises(ValueError, match="style"):
        ProgressBar(style="none")
    assert str(ElapsedTime(61.4).dt) == "0:01:01"
