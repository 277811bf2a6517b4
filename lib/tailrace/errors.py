"""Every error that tailrace raises on purpose.

    TailraceError
    ├── ProfileError          a profile, a plan or a parameter is invalid; nothing has started
    ├── SettingsError         the service's environment is invalid; it does not listen
    ├── PartMissing           the machine lacks something that the profile needs
    ├── DeployError
    │   ├── BuildFailed       the build made no release; the message ends with the last lines of its log
    │   ├── StartFailed       an instance exited, or never listened
    │   ├── NotReady          a gate before the commit failed: traffic was not touched
    │   ├── EdgeRejected      the edge rejected its configuration, or did not acknowledge it
    │   ├── MachineRefused    the machine did not let a file be written: a full or read-only disk; no finding
    │   ├── RolledBack        a gate after the commit failed: traffic is back where it was
    │   ├── Locked            another deploy of the same deployment is under way
    │   └── Unfinished        an earlier deploy died half-way: resume it or abort it
    ├── LoadError             the load test cannot be run as specified
    ├── RecordsError          records are missing, damaged or of another schema
    ├── StepFailed            a check of the step failed
    ├── StepTimeout           the step exceeded its time limit and was ended
    └── LeakFound             an artefact of the run contains a credential

The client's own errors (`tailrace.client.errors`) are the OpenAI SDK's or subclasses of them, so code that
catches `openai.APIError` keeps working.

A message holds the subject, the measured fact and the limit, and says what to do next.
"""

from typing import Any


class TailraceError(Exception):
    """Base class of all errors of tailrace. `exit_code` is the exit status of the command line."""

    exit_code = 1


class ProfileError(TailraceError):
    exit_code = 3


class SettingsError(TailraceError):
    exit_code = 3


class PartMissing(TailraceError):
    exit_code = 3


class DeployError(TailraceError):
    """`states` lists the states that a switch reached, as (state, t_ns, fact); `cut` counts the requests it cut.

    `account` is what users got meanwhile (`deploy.account.Account`); None when nothing was begun.
    """

    states: tuple[tuple[str, int, str], ...] = ()
    cut: int = 0
    account: Any = None


class BuildFailed(DeployError):
    pass


class StartFailed(DeployError):
    pass


class NotReady(DeployError):
    pass


class EdgeRejected(DeployError):
    pass


class MachineRefused(DeployError):
    exit_code = 3


class RolledBack(DeployError):
    pass


class Locked(DeployError):
    exit_code = 3


class Unfinished(DeployError):
    exit_code = 3


class LoadError(TailraceError):
    exit_code = 3


class RecordsError(TailraceError):
    exit_code = 3


class StepFailed(TailraceError):
    pass


class StepTimeout(TailraceError):
    pass


class LeakFound(TailraceError):
    pass
