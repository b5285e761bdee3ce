"""Which tests run on one worker: those that share what takes seconds to make.

pytest-xdist's own groups are marks that it writes into the names of tests, which pytest 9.2 does not let it (its issue
1386): every test is then sent wherever there is room, and all that is shared is made on each worker. Here the groups
follow from the names, through xdist's hook for schedulers.
"""

from xdist.scheduler import LoadScopeScheduling

# By module: tests that share a browser and a TensorBoard, trainings, a module's fixture that takes seconds.
TOGETHER = {
    "test_browser": "browser",
    "test_dashboard": "browser",
    "test_dashboard_runs": "browser",
    "test_demo": "demo",
}
# Modules whose tests go through a table of models: what is made of a model is made once.
BY_MODEL = {"test_zoo", "test_grid", "test_identities", "test_explainer", "test_submodels"}


def unit_of(nodeid: str) -> str:
    """What a test is sent to a worker with: its group, its model, or the other parameters of its function."""
    path, _, name = nodeid.partition("::")
    module = path.rpartition("/")[2].removesuffix(".py")
    function, _, parameters = name.partition("[")
    if module in TOGETHER:
        return TOGETHER[module]
    if module in BY_MODEL and parameters:
        return f"model {parameters.removesuffix(']')}"
    return f"{path}::{function}"


class SharingScheduling(LoadScopeScheduling):
    """Sends each unit to a worker as soon as that has little left to do, large ones first."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
