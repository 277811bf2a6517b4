"""One verb of a deployment, in a process that may be killed: HOME PROFILE VERB [RELEASE], the latter two as JSON."""

import json
import sys
from pathlib import Path

from tailrace.deploy import Deployment, Release
from tailrace.profile import Profile

home, profile, verb = sys.argv[1:4]
deployment = Deployment.open(Profile.model_validate_json(profile), Path(home))
arguments = [Release.read(json.loads(sys.argv[4]))] if len(sys.argv) > 4 else []
print(getattr(deployment, verb)(*arguments))
