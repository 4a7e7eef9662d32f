"""pytest set-up of all process-level suites: options, marks and the fixtures that start nodes."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Node, is_holdfast, server_binary  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests marked long as well")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; only with --long")
    config.addinivalue_line("markers", "holdfast: about what only Holdfast has; skipped when another server is tested")
    config.addinivalue_line("markers", "redis: about what only Redis has (checks of the harness itself)")
    if not os.access(server_binary(), os.X_OK):
        pytest.exit(f"no server to test at {server_binary()}: build it or set HOLDFAST_SERVER", returncode=4)


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="needs --long"))
        if item.get_closest_marker("holdfast") and not is_holdfast():
            item.add_marker(pytest.mark.skip(reason="only Holdfast has this"))
        if item.get_closest_marker("redis") and is_holdfast():
            item.add_marker(pytest.mark.skip(reason="only Redis has this"))


@pytest.fixture
def make_node(request):
    """make_node(config, **Node arguments) gives a running node that ends with the test; its log is shown on failure."""
    nodes = []

    def make(config=None, start=True, **kw):
        n = Node(config, **kw)
        nodes.append(n)
        return n.start() if start else n

    yield make
    report = getattr(request.node, "report_call", None)
    for n in nodes:
        if report is not None and report.failed:
            print(f"--- log of the node on port {n.port} ---\n{n.log()[-4000:]}")
        n.close()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


@pytest.fixture(scope="module")
def shared_node():
    """A node with default settings that the tests of one file share."""
    n = Node().start()
    yield n
    n.close()


@pytest.fixture
def c(shared_node):
    """A fresh connection to the shared node, whose data are emptied first."""
    if not shared_node.alive():
        shared_node.start()
    with shared_node.client() as client:
        client.call("FLUSHALL")
        yield client


@pytest.fixture
def c2(shared_node, c):
    """A second connection to the same node."""
    with shared_node.client() as client:
        yield client
