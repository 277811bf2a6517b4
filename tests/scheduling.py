"""How the workers of pytest-xdist share the tests: file by file, and those marked `alone` last, one at a time."""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ALONE = "@alone"
"""How the id of such a test ends when a worker reports what it has collected (conftest.py)."""


class QuietScheduling(LoadScopeScheduling):
    """Hand out file by file; once only `alone` tests are left, give all of them to the one worker that remains."""

    def _split_scope(self, nodeid: str) -> str:
        return ALONE if nodeid.endswith(ALONE) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if next(iter(self.workqueue)) != ALONE:
            super()._assign_work_unit(node)
        elif any(not other.shutting_down for other in self.nodes if other is not node):
            node.shutdown()
        elif len(self.nodes) == 1:
            super()._assign_work_unit(node)
        # else: the others still finish their last tests; remove_node comes back here when each has gone

    def _reschedule(self, node: WorkerController) -> None:
        # A worker starts a test once it knows the next one: more than that would wait here while another is idle.
        if not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        crashed = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed
