"""The start of a job by the workflow's scripts: through the fork server, or in this process."""

from __future__ import annotations

import sys
from typing import Any

from sparrow.jobs import fork_server
from sparrow.jobs.execute import execute


def run(function: str, log: str, threads: int, **arguments: Any) -> None:
    """Call `function` (`module:name`) with `arguments`, its output going to the file `log`; exit the process if it fails.

    Strings, and lists of strings, are made Paths. A SparrowError is reported by its message alone; a line that the
    function returns is printed for the user.
    """
    answer = fork_server.call({"function": function, "log": log, "threads": threads, "arguments": arguments})
    status, message = (answer["status"], answer["message"]) if answer else execute(function, log, threads, arguments)
    if status:
        sys.exit(message)
    if message:
        print(message, file=sys.stderr)
