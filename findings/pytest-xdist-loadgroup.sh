#!/usr/bin/env bash
# Tests of one group (`xdist_group`) run on several workers: `--dist loadgroup` of pytest-xdist 3.8.0 does nothing with pytest 9.2.0.
#
# Versions:  pytest-xdist 3.8.0 (the newest on PyPI), pytest 9.2.0 and, for comparison, 9.0.2; Python 3.11.
# Input:     twelve tests of two files, all marked as one group; each writes down the worker that runs it.
# Expected:  one worker, as xdist's documents say of a group, and as with pytest 9.0.2.
# Seen:      two workers with pytest 9.2.0, without a warning. xdist puts the group behind a test's id by setting `_nodeid`, which pytest 9.2
#            does not read any more: its ids are objects of their own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cd "$folder"
mkdir tests
for name in one two; do
    cat > "tests/test_$name.py" <<'PYTHON'
import os
import time
from pathlib import Path

import pytest


@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(6))
def test_writes_down_its_worker(number):
    time.sleep(0.1)
    Path("workers", os.environ["PYTEST_XDIST_WORKER"]).touch()
PYTHON
done

workers() { # How many workers ran the tests, with that pytest.
    {
        "${PYTHON:-python3.11}" -m venv "venv-$1" &&
        "venv-$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0 \
            execnet==2.1.2 pluggy==1.7.0 iniconfig==2.3.1 packaging==25.0 pygments==2.21.0
    } >&2 || exit 2
    rm -rf workers && mkdir workers
    "venv-$1/bin/python" -m pytest -q -p no:cacheprovider -n 2 --dist loadgroup tests >&2
    ls workers | wc -l
}

before=$(workers 9.0.2)
now=$(workers 9.2.0)
echo "pytest 9.0.2: $before worker(s); 9.2.0: $now"
[ "$before" -eq 1 ] && [ "$now" -eq 2 ]
