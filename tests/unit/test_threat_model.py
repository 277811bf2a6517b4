"""The threat model has every limit with the number of the code, and every module that opens a listener or a folder."""

import re
from collections.abc import Iterable
from functools import cache

import pytest

import threat_model
from tailrace.profile import EdgeSettings
from tailrace.service.settings import PREFIX, Settings
from threat_model import LIB, PAGE, Constant

LIMITERS = (
    "service.capacity", "service.connection", "service.connections", "service.request_body", "service.response_headers",
    "deploy.edge.limits", "deploy.edge.listeners", "deploy.edge.overload", "run.leaks",
)  # fmt: skip
"""All numbers of these modules are limits, whatever their names."""
LIMIT = re.compile(r"(?:^|_)(?:MAX|MOST|LIMIT|LONGEST|LARGEST)(?:_|$)|_BYTES$")
NO_LIMITS = {
    "analysis.disk.ROW_BYTES": "how much memory a row takes",
    "checks.causes.MOST": "a share of time",
    "cli.load.tables._LABEL_AT_MOST": "the width of a column",
    "deploy.file_digests.LARGE_BYTES": "whose digests are remembered",
    "deploy.secret_digests.SALT_BYTES": "the length of a salt",
    "histogram.LARGEST_US": "the last bucket, in which all longer ones are counted",
    "host.files.RESERVE_BYTES": "the room that is kept on the disk for the end of a run",
    "host.http.PATH_BYTES": "a longer path is reached by way of its folder",
    "TAILRACE_GENERATION": "a number that the edge gives",
    "TAILRACE_RESTARTS": "a number that the supervisor gives",
    "edge.port": "0: the machine chooses",
    "edge.metrics_port": "0: there is none",
    "client.call.charges.MOST_UPLOAD_BYTES": "an estimate of what an unknown upload costs",
    "client.call.charges.MOST_VIDEO_S": "an estimate of what an unknown video costs",
    "client.policy.caching._MOST_IGNORED": "of the user's own policy",
    "client.policy.targets.MOST_WEIGHT": "of the user's own policy",
    "client.request.forms._HEAD_BYTES": "where the name of a field is looked for",
    "client.senders.connection._READ_BYTES": "how much is read at once",
    "client.senders.decoding._PIECE_BYTES": "how much is decoded at once",
    "client.stores.redis_contents._FIRST_BYTES": "how much is read at first",
    "deploy.edge.limits.OWN_FILES": "what the limit of connections leaves to the edge itself",
    "deploy.edge.overload.TRACKED_FROM": "which streams Envoy's limit of memory looks at",
    "run.leaks.PIECE": "how much is searched at once",
    "run.leaks.OVERLAP": "how much of it is searched again",
    "service.capacity.RESERVED": "what the limit of requests leaves to the service itself",
    "service.connections.HEAD_BYTES": "TAILRACE_MAX_HEAD_BYTES, for who has no setting",
    "service.connections.SWEEP_S": "how often connections are looked at",
    "service.connections._AT_ONCE": "which share of them is closed at once",
}
"""Names like a limit's that are none, and why."""
FOREIGN = {"answers", "profile_default", "startup"}
"""Names that a user chooses, and IPython."""
OPENS = frozenset(
    ("bind", "create_server", "start_server", "create_unix_server", "start_unix_server", "mkdtemp", "mkstemp",
     "TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "SharedMemory", "mkfifo", "memfd_create")
)  # fmt: skip
OPENS_NOTHING = {"host/ports.py": "binds to see whether a port is free, and does not listen"}


@cache
def limits() -> tuple[str, ...]:
    """Return the names of all limits: constants of the code, and numbers among the settings of edge and service."""
    found = threat_model.constants(lambda one: one.module in LIMITERS or LIMIT.search(one.name))
    return (*map(str, found), *_settings())


def _settings():
    for prefix, fields in ((PREFIX, Settings.__dataclass_fields__), ("edge.", EdgeSettings.model_fields)):
        for name, field in fields.items():
            if type(field.default) in (int, float):
                yield f"{prefix}{name.upper() if prefix == PREFIX else name}"
    yield f"{PREFIX}MAX_IN_FLIGHT"


def wrong_limits(page: str, known: Iterable[str]) -> list[str]:
    """Return a sentence for each number that is not the code's, each unknown name, and each limit without a row."""
    found, told = [], set()
    for row in threat_model.rows("Limits", page):
        names = threat_model.named(row["where it is set"])
        told.update(names)
        try:
            values = [value for name in names if (value := threat_model.value(name)) is not None]
        except LookupError as error:
            found.append(f"{row['what']}: {error}")
            continue
        if not names or threat_model.numbers(row["limit"]) != pytest.approx(values):
            found.append(f"{row['what']}: {row['limit']}, and {', '.join(names) or 'no setting'} says {values}")
    found += [f"{name} has no row" for name in known if name not in told and name not in NO_LIMITS]
    return found + [f"{name} is an exception, and has a row" for name in NO_LIMITS if name in told]


def wrong_modules(page: str, opening: Iterable[str]) -> list[str]:
    """Return a sentence for each module that opens something and has no row, and for each that is not there."""
    told = {
        name
        for heading in ("Listeners", "Sockets and names")
        for row in threat_model.rows(heading, page)
        for name in threat_model.named(row["made in"])
    }
    missing = [f"{module} has no row" for module in opening if module not in told and module not in OPENS_NOTHING]
    places = (LIB, LIB.parents[1])
    return missing + [f"{name}: no such file" for name in sorted(told) if not any((p / name).is_file() for p in places)]


def test_every_limit_has_its_row_and_every_row_the_number_of_the_code():
    """A row names its settings or constants in the order of its numbers."""
    wrong = wrong_limits(PAGE, limits())
    assert wrong == [], "\n".join(wrong)


def test_every_exception_is_a_constant_with_a_reason():
    """An exception that the code has no more is a mistake of this list."""
    assert all(NO_LIMITS.values())
    assert set(NO_LIMITS) <= set(limits())


def test_every_module_that_opens_something_has_its_row():
    """Listeners and names are made in few modules: whoever adds one adds a row."""
    opening = list(threat_model.calls(OPENS))
    assert set(OPENS_NOTHING) <= set(opening)
    assert wrong_modules(PAGE, opening) == []


def unknown_names(page: str) -> set[str]:
    """Return the names of files and folders in the page that stand in no module."""
    code = "".join(path.read_text(encoding="utf-8") for path, _ in threat_model.modules())
    cells = [row["where"] for row in threat_model.rows("Files and modes", page)]
    paths = [name for cell in cells for name in threat_model.named(cell) if name.startswith((".tailrace/", "runs/"))]
    names = {part for path in paths for part in path.split("/")[1:] if re.fullmatch(r"[a-z][a-z.-]+", part)}
    return {name for name in names - FOREIGN if f'"{name}"' not in code}


def test_every_name_of_a_file_is_in_the_code():
    """Also of those that no test makes, as with Docker. Negative control: a name that no module has."""
    assert unknown_names(PAGE) == set()
    assert unknown_names(PAGE.replace("/images/*", "/pictures/*")) == {"pictures"}


def test_a_row_that_is_gone_or_wrong_is_seen():
    """The negative controls: a number, a row, a constant, a listener."""
    known = ["TAILRACE_MAX_BODY_BYTES"]
    (row,) = (line for line in PAGE.splitlines() if "`TAILRACE_MAX_BODY_BYTES`" in line and line.startswith("|"))
    assert wrong_limits(PAGE.replace(row, row.replace("20 MiB", "21 MiB")), known) == [
        "one body: 21 MiB, and TAILRACE_MAX_BODY_BYTES says [20971520.0]"
    ]
    assert wrong_limits(PAGE.replace(row + "\n", ""), known) == ["TAILRACE_MAX_BODY_BYTES has no row"]
    assert "no such setting" in wrong_limits(PAGE.replace(row, row.replace("BODY_BYTES", "BODY_BITES")), known)[0]
    added = Constant("service.capacity", "MOST_CATS")
    assert wrong_limits(PAGE, [*known, str(added)]) == ["service.capacity.MOST_CATS has no row"]
    assert wrong_modules(PAGE, ["load/null.py", "load/door.py"]) == ["load/door.py has no row"]
    gone = PAGE.replace("`load/null.py`", "`load/gone.py`")
    assert wrong_modules(gone, ["load/null.py"]) == ["load/null.py has no row", "load/gone.py: no such file"]
