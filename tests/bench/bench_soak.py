"""Half an hour of load, switches and faults: `python tests/bench/bench_soak.py [--minutes 30] [--rate 200]`.

Printed: each failed request by the fault that it fell to, by the journal of the deployment, and by how much the
processes grew. It leaves with 1 when a request was lost without a word in the journal, when the journal does not name a
fault, and when memory or descriptors are not flat; the records are kept then, and where is said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import soak


def main() -> int:
    options = _options()
    planned = soak.Soak(options.minutes, options.rate, options.switch_every, options.fault_every)
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    with soak.bed(home) as bed:
        account, growth = soak.run(planned, bed, home / "records")
    lines = [*account.lines(), *growth.lines()]
    print(f"\n{planned.minutes:g} minutes at {planned.rate:g} requests/s\n\n| measure | value | limit | held |")
    print("|---|---|---|---|")
    for *cells, held in lines:
        print(f"| {' | '.join(cells)} | {'yes' if held else 'NO'} |")
    if all(held for *_, held in lines):
        shutil.rmtree(home)
        return 0
    (home / "samples.json").write_text(json.dumps(growth.readings), encoding="utf-8")
    print(f"\nred; records, journal and logs: {home}")
    return 1


def _options() -> argparse.Namespace:
    usual = soak.Soak()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=usual.minutes)
    parser.add_argument("--rate", type=float, default=usual.rate, help="requests per second")
    parser.add_argument("--switch-every", type=float, default=usual.switch_every_s, metavar="S")
    parser.add_argument("--fault-every", type=float, default=usual.fault_every_s, metavar="S")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
