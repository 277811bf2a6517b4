"""How the workers of pytest-xdist share the tests: by file, those of Docker on one, those marked `alone` last."""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ALONE = "alone"
GROUPS = (ALONE, "docker")
"""Markers whose tests all go to one worker. The `alone` ones are the last, and no other worker is left by then."""


class GroupScheduling(LoadScopeScheduling):
    """Give each worker file after file, or the group that ends a test's id, as in "test_a.py::test_b@docker".

    Once only `alone` tests are left, the one worker that remains gets all of them.
    """

    def _split_scope(self, nodeid: str) -> str:
        group = nodeid.rpartition("@")[2]
        return group if group in GROUPS else nodeid.partition("::")[0]

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
