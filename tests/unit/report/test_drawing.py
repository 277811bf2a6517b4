"""Figures are drawn by several processes, and look the same as if one had drawn them."""

import os
import signal
import threading

import pytest

from tailrace.report import catalogue, drawing, evidence
from tailrace.report.drawing import Specification

STEP = "03_blue_green_switch"


@pytest.fixture
def specifications(run_dir):
    load = evidence.Loader(run_dir, STEP)
    names = ("ccdf", "unknown", "arrivals", "windows")
    return [Specification(load, name, f"f{i}") for i, name in enumerate(names)]


def test_processes_draw_what_one_process_draws(specifications):
    """The figures come in their order, to the byte the same."""
    alone = drawing.draw_all(specifications, processes=1)
    assert drawing.draw_all(specifications, processes=2) == alone
    assert [drawn.svg[:4] for drawn in alone] == ["<svg", "", "<svg", "<svg"]


def test_a_figure_that_fails_stops_no_other(specifications):
    """The error of a figure stands in its place."""
    drawn = drawing.draw_all(specifications, processes=2)
    assert "'unknown' is not in the catalogue" in drawn[1].error
    assert [bool(one.error) for one in drawn] == [False, True, False, False]


def test_a_process_that_is_killed_costs_no_figure(specifications, monkeypatch):
    """When a drawing process dies, this process draws the figures one after the other."""
    here, draw = os.getpid(), catalogue.draw

    def killed(*arguments, **options):
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(*arguments, **options)

    monkeypatch.setattr(catalogue, "draw", killed)
    assert [bool(one.svg) for one in drawing.draw_all(specifications, processes=2)] == [True, False, True, True]


def test_a_process_with_threads_does_not_fork(monkeypatch):
    """A thread might hold a lock at the moment of the fork; the figures are then drawn here."""
    monkeypatch.setattr(drawing.sys, "platform", "linux")
    monkeypatch.setattr(drawing.threading, "active_count", lambda: 1)
    assert drawing._may_fork()
    monkeypatch.undo()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert not drawing._may_fork()
    done.set()
    thread.join()
