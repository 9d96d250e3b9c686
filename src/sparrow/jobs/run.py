"""How the workflow's scripts start a job: in a process that has done the imports, or here."""

from __future__ import annotations

import sys
from typing import Any

from sparrow.jobs import fork_server
from sparrow.jobs.execute import execute


def run(function: str, log: str, threads: int, **arguments: Any) -> None:
    """Call `function` (`module:name`) with `arguments`, its output going to the file `log`; end the process if it fails.

    Strings, and lists of strings, stand for files. A SparrowError is reported by its message alone; a line that the
    function returns is passed on to the user.
    """
    request = {"function": function, "log": log, "threads": threads, "arguments": arguments}
    answer = fork_server.call(request)
    status, message = (answer["status"], answer["message"]) if answer else execute(**request)
    if status:
        sys.exit(message)
    if message:
        print(message, file=sys.stderr)
