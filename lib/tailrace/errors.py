"""Every error that tailrace raises on purpose.

    TailraceError
    ├── ProfileError          a profile, a plan or a parameter was refused before anything started
    ├── SettingsError         the service's environment was refused before it listened
    ├── PartMissing           something that the profile asks for is not on this machine
    ├── DeployError
    │   ├── BuildFailed       no release came out; the last lines of the log are in the message
    │   ├── StartFailed       an instance ended, or never listened
    │   ├── NotReady          a gate before the commit was not passed: traffic was not touched
    │   ├── EdgeRejected      the edge refused its configuration, or did not acknowledge it
    │   ├── RolledBack        a gate after the commit was not passed: traffic is back where it was
    │   ├── Locked            another deploy of the same deployment is under way
    │   └── Unfinished        an earlier deploy died half-way: resume it or abort it
    ├── LoadError             the load generator could not do what it was asked
    ├── RecordsError          records are missing, damaged or of another schema
    ├── StepFailed            a check of the step said no
    ├── StepTimeout           the step passed its hard limit and was ended
    └── LeakFound             a credential stands in an artefact of the run

The client's own errors (`tailrace.client.errors`) are the OpenAI SDK's or subclasses of them, so that
code which catches `openai.APIError` keeps working.

A message holds the subject, the measured fact and the limit, and says what to do next.
"""


class TailraceError(Exception):
    """Base of all of them. `exit_code` is what the command line leaves with."""

    exit_code = 1


class ProfileError(TailraceError):
    exit_code = 3


class SettingsError(TailraceError):
    exit_code = 3


class PartMissing(TailraceError):
    exit_code = 3


class DeployError(TailraceError):
    """`states` is how far a switch came, as (state, t_ns, fact); `cut` counts the requests that it cut."""

    states: tuple[tuple[str, int, str], ...] = ()
    cut: int = 0


class BuildFailed(DeployError):
    pass


class StartFailed(DeployError):
    pass


class NotReady(DeployError):
    pass


class EdgeRejected(DeployError):
    pass


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
