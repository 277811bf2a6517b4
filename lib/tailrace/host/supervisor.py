"""Keep one program running: start it again when it ends, after a pause that grows, and write down what happened.

Run as `python -m tailrace.host.supervisor NAME`, as the leader of a session. It reads an `Order` from standard input,
answers with one line, and from then on writes its state into the order's file. Signals: SIGUSR1 accepts the program
(until then it is on trial, and its end is final), SIGTERM ends it. It imports little: one runs beside every instance.

The program leads a group of its own, so that what it sends to its group stays there. What descends from it, and loses
its parent, becomes a child of the supervisor (PR_SET_CHILD_SUBREAPER), is reaped, and is ended with it: also a daemon.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any, NamedTuple

from tailrace.host import launch, pids, priority, rotation
from tailrace.host.restart_helper import Helper

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
HEALTHY_S = 10.0
"""A program that ran for this long has started well: the next pause is the first one again."""
CALM_S = 3600.0
TOLD_EACH = 5
"""So many ends are told one by one; then each time that their number has doubled, until one calm hour has passed."""
STRAGGLERS_S = 0.5
"""What the program started may end this long after it."""
DAEMON_S = 2.0
"""A descendant in another session is what a daemon looks like before its parent leaves: so long it may take to."""


class Order(NamedTuple):
    """What to keep running, and where to write; `helper` is what `restart_helper` runs before each new start."""

    command: list[str]
    directory: str | None
    environment: dict[str, str]
    log: str
    state: str
    counter: str
    """The variable that gets the number of restarts; "" for none."""
    helper: list[str]
    nice: int
    groups: list[str]


def pause_s(quick_ends: int) -> float:
    """Return the pause before the next start, after so many ends of which none came after `HEALTHY_S`."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * (1 << min(max(0, quick_ends - 1), 20)))


def is_told(ends: int) -> bool:
    """Return whether the end with that number, since the last calm hour, is told."""
    return ends <= TOLD_EACH or ends & (ends - 1) == 0


def described(status: int) -> str:
    """Return how a program ended, from its wait status: "left with 3", "killed by signal 9"."""
    code = os.waitstatus_to_exitcode(status)
    return f"left with {code}" if code >= 0 else f"killed by signal {-code}"


class Supervisor:
    """One program; `child` is its pid, 0 while it does not run."""

    def __init__(self, order: Order, name: str) -> None:
        self.order, self.name = order, name
        self.child = 0
        self.helper, self.memory = Helper(order.helper), launch.Memory(order.groups)
        self.asked: list[int] = []
        """Signals that came and were not yet acted upon."""
        self.accepted = self.stopping = self.finished = False
        self.accept_at = 0.0
        """When to accept; 0: nobody asked for it yet."""
        self.restarts = self.quick_ends = self.ends = 0
        self.started_at = self.start_at = self.ended_at = 0.0
        self.last_exit, self.unwritten = "", ""  # the phase that could not be written down yet
        self.way, self.priority = priority.lower(order.nice, order.groups)
        self.log_bytes, self.looked_at, self.look_at = 0, 0.0, 0.0
        self.wake, signals = os.pipe()
        for end in (self.wake, signals):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(signals, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda number, frame: self.asked.append(number))

    def run(self) -> None:
        """Supervise until SIGTERM, or until the program has ended on trial."""
        while not self.finished:
            self._reap()
            self._obey()
            self.helper.listen()
            now = time.monotonic()
            if self.accept_at and not self.accepted and not self.finished and now >= self.accept_at:
                self._take_on()
            if self._waits and not self.helper.busy and now >= self.start_at:
                self._restart()
            if now >= self.look_at:
                self._look_at_log(now)
                if self.unwritten:
                    self._write(self.unwritten)
            if not self.finished:
                self._sleep()

    @property
    def _waits(self) -> bool:
        """Whether the program is to be started again."""
        return not (self.child or self.finished or self.stopping)

    def start(self) -> str:
        """Start the program; return "" or why it cannot be started."""
        order, now = self.order, self.helper.answer
        counted = {order.counter: str(self.restarts)} if order.counter else {}
        environment = {**order.environment, **now.get("environment", {}), **counted}
        nice = order.nice if self.way == "nice" and not self.restarts else 0
        command, directory = now.get("command", order.command), now.get("directory", order.directory)
        problem = str(now.get("problem", ""))
        if not problem:
            program = launch.Program(command, directory, environment, order.log, nice, order.groups)
            self.child, problem = launch.start(program)
        self.started_at = time.monotonic()
        self._write("running" if self.child else "ended")
        return problem

    def _restart(self) -> None:
        self.restarts += 1
        if problem := self.start():
            self._plan_restart(f"could not be started: {problem}", 0.0)

    def _obey(self) -> None:
        """Act upon the signals that came."""
        while self.asked:
            number = self.asked.pop(0)
            if number == signal.SIGTERM:
                self.stopping = True
                self.finished = not self.child
                self.helper.kill()
                if self.child:
                    _signal_group(self.child, signal.SIGTERM)
            elif number == signal.SIGUSR1 and not self.accept_at:
                others = [s for s in pids.descendants(os.getpid()).values() if s != os.getsid(0)]
                self.accept_at = time.monotonic() + (DAEMON_S if others else 0.0)

    def _take_on(self) -> None:
        self.accepted = True
        problem = priority.restore(self.way, os.getpid(), [os.getpid(), *pids.descendants(os.getpid())])
        if self.way:
            self.priority = problem or f"normal CPU priority again, after a start at {self.priority}"
        self._write("running" if self.child else "waiting")

    def _reap(self) -> None:
        """Collect everything that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.helper.pid:
                self.helper.pid = 0
            if pid == self.child:
                self._ended(described(status))

    def _ended(self, how: str) -> None:
        """End what the program has left, and decide whether it is started again."""
        ran_s, group, self.child = time.monotonic() - self.started_at, self.child, 0
        left = self._left() if how == "left with 0" and not self.stopping else []
        if left:
            names = ", ".join(f"{pids.name(pid)} (pid {pid})" for pid in left[:3])
            how = f"the command left with 0 while a process that it started goes on, {names}: run it in the foreground"
        _signal_group(group, signal.SIGKILL if not left else signal.SIGTERM)
        self._end_descendants(1.0 if left else 0.0)
        how += self.memory.reason() if how == "killed by signal 9" else ""
        self.last_exit, self.ended_at = how, time.time()
        if self.stopping or not self.accepted:
            self.finished = True
            self._write("ended")
        else:
            self._plan_restart(how, ran_s)

    def _plan_restart(self, how: str, ran_s: float) -> None:
        self.quick_ends = 1 if ran_s >= HEALTHY_S else self.quick_ends + 1
        self.ends = 1 if ran_s >= CALM_S else self.ends + 1
        pause = pause_s(self.quick_ends)
        self.start_at, self.last_exit, self.ended_at = time.monotonic() + pause, how, time.time()
        self._write("waiting")
        again = f"it keeps dying, {self.ends} times without a calm hour" if self.ends > 1 else ""
        fact = f"{self.name}: {how} after {ran_s:.1f} s; {again + '; ' if again else ''}started again in {pause:g} s"
        self._note(fact)
        self.helper.start(fact if is_told(self.ends) else "")

    def _left(self) -> list[int]:
        """Return what goes on although the program has left, after a moment for what is just ending."""
        deadline = time.monotonic() + STRAGGLERS_S
        while (left := self._others()) and time.monotonic() < deadline:
            time.sleep(0.02)
            _reap_others(self.helper.pid)
        return left

    def _others(self) -> list[int]:
        return [pid for pid in pids.descendants(os.getpid()) if pid != self.helper.pid]

    def _end_descendants(self, grace_s: float) -> None:
        """End all that the program has started, and return once nothing is left of it."""
        deadline, begun = time.monotonic() + grace_s, time.monotonic()
        while (left := self._others()) and time.monotonic() < begun + grace_s + 5.0:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(0.01)
            _reap_others(self.helper.pid)
        _reap_others(self.helper.pid)

    def _look_at_log(self, now: float) -> None:
        with contextlib.suppress(OSError):
            size = os.stat(self.order.log).st_size
            if rotation.rotate(self.order.log):
                size = os.stat(self.order.log).st_size
                self.log_bytes = size
            self.look_at = now + rotation.look_again_s(self.log_bytes, size, now - self.looked_at)
            self.log_bytes, self.looked_at = size, now
            return
        self.look_at = now + rotation.LOOK_EVERY_S

    def _sleep(self) -> None:
        """Wait for a signal, or for the next thing to do."""
        due = [self.look_at]
        due += [self.helper.deadline if self.helper.busy else self.start_at] if self._waits else []
        due += [self.accept_at] if self.accept_at and not self.accepted else []
        awaited = [self.wake, *([self.helper.reader] if self.helper.busy else [])]
        ready, _, _ = select.select(awaited, [], [], max(0.0, min(due) - time.monotonic()))
        if self.wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)

    def _note(self, text: str) -> None:
        """Append a line to the program's log."""
        with contextlib.suppress(OSError), open(self.order.log, "ab") as log:
            log.write(f"tailrace: {text}\n".encode())

    def _write(self, phase: str) -> None:
        """Replace the state file; a full disk does not end the program: it is written once there is room again."""
        state: dict[str, Any] = {
            "phase": phase, "pid": self.child, "started": pids.started(self.child) or "" if self.child else "",
            "accepted": self.accepted, "restarts": self.restarts, "last_exit": self.last_exit,
            "ended_at": self.ended_at, "priority": self.priority,
            "next_start": time.time() + max(0.0, self.start_at - time.monotonic()) if phase == "waiting" else 0.0,
        }  # fmt: skip
        self.unwritten = phase
        with contextlib.suppress(OSError):
            with open(f"{self.order.state}.new", "w", encoding="utf-8") as file:
                json.dump(state, file)
            os.replace(f"{self.order.state}.new", self.order.state)
            self.unwritten = ""


def _reap_others(helper: int) -> None:
    """Reap every child that has ended but `helper`, whose number is still needed."""
    for pid in pids.children(os.getpid()):
        if pid != helper:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _adopt_orphans() -> None:
    """Have the kernel give this process the orphans among its descendants (PR_SET_CHILD_SUBREAPER is 36)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def main() -> None:
    os.umask(0o077)  # what it and its program write is for their user alone
    order = Order(**json.loads(sys.stdin.buffer.read()))
    _adopt_orphans()
    supervisor = Supervisor(order, sys.argv[1])
    problem = supervisor.start()
    os.write(1, (json.dumps({"problem": problem}) + "\n").encode())
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(null, stream)
    if not problem:
        supervisor.run()
    os._exit(0)  # whoever stops the program waits for this process, and an interpreter takes a while to end


if __name__ == "__main__":
    main()
