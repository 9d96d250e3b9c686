"""How jobs run: their logs, what they say when they fail, and the warm interpreter that forks them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sparrow.jobs import execute as jobs
from sparrow.jobs import fork_server, interruption
from sparrow.jobs import run as caller_side

SRC = str(Path(__file__).parents[2] / "src")

# Jobs to run, in a module of their own, so that another process can import them too.
CHORES = """
import json, os, sys, time
from sparrow.errors import SparrowError

def describe(output, files=(), spec=None):
    print("describing")
    print("to stderr", file=sys.stderr)
    output.write_text(json.dumps({
        "pid": os.getpid(), "folder": os.getcwd(), "mark": os.environ.get("MARK"), "threads": os.environ["OMP_NUM_THREADS"],
        "types": [type(value).__name__ for value in (output, *files, spec)],
    }))

def refuse():
    raise SparrowError("methods.hidra: unknown method")

def warn(output):
    print("working")
    output.write_text("done")
    return "warning: seed0/dense: diverged; recorded, the study goes on without it"

def crash():
    raise ValueError("two\\nlines")

def die():
    os._exit(7)

def loaded(output):
    output.write_text(" ".join(name for name in ("first", "second") if name in sys.modules))

def sleep(output):
    output.write_text(str(os.getpid()))
    time.sleep(600)

def wait(output):
    from sparrow.jobs import interruption
    try:
        output.write_text(str(os.getpid()))
        time.sleep(600)
    except interruption.Interrupted:
        output.write_text("saved")
        raise

def finish(output):
    from sparrow.jobs import interruption
    with interruption.deferred():
        output.write_text(str(os.getpid()))
        while not interruption.requested():
            time.sleep(0.01)
    output.write_text("finished")

def complete(output):
    from sparrow.jobs.resume_point import resumable
    with resumable(output, {}):
        output.write_text("done")

def fill(output):
    from sparrow.files.csv_table import write_csv
    write_csv(output / "table.csv", ["a"], [])

def learn(output):
    import torch
    from safetensors.torch import save_file
    from sparrow.models import cnn_small
    from sparrow.reproducible import seed_everything
    seed_everything(0)
    model = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10)
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(5):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.rand(64, 1, 8, 8)), torch.arange(64) % 10).backward()
        optimiser.step()
    save_file(model.state_dict(), output)
"""


@pytest.fixture(scope="module")
def chores(tmp_path_factory):
    """The folder of the module `chores`, which this process can import."""
    folder = tmp_path_factory.mktemp("chores")
    (folder / "chores.py").write_text(CHORES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    sys.modules.pop("chores", None)


@pytest.fixture(autouse=True)
def _still_listening():
    """A process that has done its job listens to no signal any more; this one goes on."""
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interruption._ignoring = False


@contextmanager
def dispositions(ignored=()):
    """What is started inside listens to all signals but those `ignored`, whatever this process ignores (as under nohup)."""
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    for number in before:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_started: list[subprocess.Popen] = []


def python(*arguments, ignored=(), **options):
    """A Python process that is ended with the test that started it."""
    with dispositions(ignored):
        _started.append(subprocess.Popen([sys.executable, "-c", *arguments], **options))
    return _started[-1]


@pytest.fixture(autouse=True)
def _ended():
    """No test leaves a process behind, however it ends: a job ends with its caller."""
    yield
    while _started:
        process = _started.pop()
        process.kill()
        process.wait(timeout=60)


@pytest.fixture
def alone(chores, monkeypatch):
    """No server to ask. Running a job here sets the number of threads: it is put back."""
    monkeypatch.delenv(fork_server.VARIABLE, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "job.log"


def run(name, log, **arguments):
    caller_side.run(f"chores:{name}", str(log), 1, **arguments)


def execute(name, log, **arguments):
    return jobs.execute(f"chores:{name}", str(log), 1, arguments)


def test_a_job_that_succeeds_has_nothing_to_say(alone, log, tmp_path):
    assert execute("describe", log, output=str(tmp_path / "out")) == (0, "")


def test_what_a_job_prints_is_in_its_log(alone, log, tmp_path):
    execute("describe", log, output=str(tmp_path / "out"))
    assert log.read_text() == "describing\nto stderr\n"


def test_what_a_job_prints_is_nowhere_else(alone, log, tmp_path, capsys):
    execute("describe", log, output=str(tmp_path / "out"))
    assert capsys.readouterr() == ("", "")


def test_strings_stand_for_files(alone, log, tmp_path):
    execute("describe", log, output=str(tmp_path / "out"), files=["a", "b"], spec={"name": "c"})
    assert json.loads((tmp_path / "out").read_text())["types"] == ["PosixPath", "PosixPath", "PosixPath", "dict"]


def test_a_job_is_told_its_threads(alone, tmp_path, log):
    jobs.execute("chores:describe", str(log), 2, {"output": str(tmp_path / "out")})
    assert (json.loads((tmp_path / "out").read_text())["threads"], torch.get_num_threads()) == ("2", 2)


def test_bad_input_is_reported_by_its_message_alone(alone, log):
    assert execute("refuse", log) == (1, "error: methods.hidra: unknown method")


def test_bad_input_leaves_no_traceback(alone, log):
    execute("refuse", log)
    assert log.read_text() == "error: methods.hidra: unknown method\n"


def test_a_bug_leaves_its_traceback_in_the_log(alone, log):
    execute("crash", log)
    assert 'raise ValueError("two\\nlines")' in log.read_text()


def test_a_bug_is_reported_with_its_type_and_its_log(alone, log):
    status, message = execute("crash", log)
    assert (status, message.startswith("error: ValueError: two"), str(log) in message) == (1, True, True)


def test_a_bug_is_reported_in_one_line(alone, log):
    _, message = execute("crash", log)
    assert "\n" not in message


def test_an_unknown_function_is_reported(alone, log):
    status, message = execute("nothing", log)
    assert (status, "AttributeError" in message) == (1, True)


def test_a_failed_job_ends_its_process_with_the_message(alone, log):
    with pytest.raises(SystemExit) as caught:
        run("refuse", log)
    assert caught.value.code == "error: methods.hidra: unknown method"


WARNING = "warning: seed0/dense: diverged; recorded, the study goes on without it"


def test_a_line_that_a_job_returns_is_its_message(alone, log, tmp_path):
    assert execute("warn", log, output=str(tmp_path / "out")) == (0, WARNING)


def test_a_line_that_a_job_returns_goes_to_the_user(alone, log, tmp_path, capsys):
    run("warn", log, output=str(tmp_path / "out"))
    assert capsys.readouterr() == ("", f"{WARNING}\n")
    assert (log.read_text(), (tmp_path / "out").read_text()) == ("working\n", "done")


def test_a_job_that_returns_nothing_says_nothing(alone, log, tmp_path, capsys):
    run("describe", log, output=str(tmp_path / "out"))
    assert capsys.readouterr() == ("", "")


def test_a_job_without_a_server_runs_where_it_is(alone, log, tmp_path):
    run("describe", log, output=str(tmp_path / "out"))
    assert json.loads((tmp_path / "out").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    "value",
    [None, f"{sys.prefix}{os.pathsep}/nowhere/socket", f"/another/environment{os.pathsep}/nowhere/socket"],
    ids=["none", "gone", "of another environment"],
)
def test_without_a_server_there_is_no_answer(monkeypatch, value):
    monkeypatch.setenv(fork_server.VARIABLE, value or "")
    assert fork_server.call({"function": "chores:refuse"}) is None


def wait_until(condition):
    """For what another process does. The limit is there to end a test that has failed."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "nothing happened for a minute"
        time.sleep(0.02)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def started(chores, patch):
    """A server that can import the chores; `patch` puts the environment back."""
    patch.setenv("PYTHONPATH", os.pathsep.join([SRC, str(chores)]))
    patch.setenv(fork_server.VARIABLE, "")
    with dispositions():
        return fork_server.start()


@pytest.fixture(scope="module")
def _server(chores):
    with pytest.MonkeyPatch.context() as patch:
        process = started(chores, patch)
        value = os.environ[fork_server.VARIABLE]
        request = {"function": "chores:refuse", "log": os.devnull, "threads": 1, "arguments": {}}
        # Until it listens, jobs run where they are.
        wait_until(lambda: fork_server.call(request) is not None)
    yield process, value
    process.stdin.close()
    process.wait(timeout=60)


@pytest.fixture
def server(_server, chores, monkeypatch):
    """One server for all tests, found through the environment, also by processes that a test starts."""
    process, value = _server
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([SRC, str(chores)]))
    monkeypatch.setenv(fork_server.VARIABLE, value)
    # A job that the server did not take would run here, and most tests would not notice.
    monkeypatch.setattr(caller_side, "execute", lambda **request: pytest.fail("the server did not take the job"))
    return process


def test_a_warm_job_is_a_process_of_its_own(server, log, tmp_path):
    pids = []
    for name in ("one", "two"):
        run("describe", log, output=str(tmp_path / name))
        pids.append(json.loads((tmp_path / name).read_text())["pid"])
    assert len({*pids, os.getpid(), server.pid}) == 4


def test_a_warm_job_runs_in_the_callers_folder(server, log, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("describe", log, output="out")
    assert json.loads((tmp_path / "out").read_text())["folder"] == str(tmp_path)


def test_a_warm_job_has_the_callers_environment(server, log, tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", "of the caller")
    run("describe", log, output=str(tmp_path / "out"))
    assert json.loads((tmp_path / "out").read_text())["mark"] == "of the caller"


def test_a_warm_job_has_not_the_servers_environment(server, log, tmp_path):
    # The server itself runs on one thread; a job has what its rule says.
    caller_side.run("chores:describe", str(log), 2, output=str(tmp_path / "out"))
    assert json.loads((tmp_path / "out").read_text())["threads"] == "2"


def test_a_warm_jobs_output_is_in_its_log(server, log, tmp_path):
    run("describe", log, output=str(tmp_path / "out"))
    assert log.read_text() == "describing\nto stderr\n"


def test_a_warm_jobs_result_is_that_of_a_cold_one(server, log, tmp_path, monkeypatch):
    run("learn", log, output=str(tmp_path / "warm"))
    # A process of its own: this one has used its random state and its threads for other tests.
    code = f"from sparrow.jobs.run import run; run('chores:learn', {str(log)!r}, 1, output={str(tmp_path / 'cold')!r})"
    monkeypatch.delenv(fork_server.VARIABLE)
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "warm").read_bytes() == (tmp_path / "cold").read_bytes()


def test_a_failed_warm_job_reports_its_message(server, log):
    with pytest.raises(SystemExit) as caught:
        run("refuse", log)
    assert caught.value.code == "error: methods.hidra: unknown method"


def test_a_line_that_a_warm_job_returns_goes_to_the_user(server, log, tmp_path, capsys):
    run("warn", log, output=str(tmp_path / "out"))
    assert capsys.readouterr() == ("", f"{WARNING}\n")
    assert (log.read_text(), (tmp_path / "out").read_text()) == ("working\n", "done")


def test_a_warm_job_that_returns_nothing_says_nothing(server, log, tmp_path, capsys):
    run("describe", log, output=str(tmp_path / "out"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["cold", "warm"])
def test_a_job_that_warns_has_succeeded(server, log, tmp_path, monkeypatch, where):
    # As Snakemake starts it: a process whose exit status counts.
    code = f"from sparrow.jobs.run import run; run('chores:warn', {str(log)!r}, 1, output={str(tmp_path / 'out')!r})"
    if where == "cold":
        monkeypatch.delenv(fork_server.VARIABLE)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{WARNING}\n")


def test_a_warm_job_that_dies_is_reported(server, log):
    with pytest.raises(SystemExit) as caught:
        run("die", log)
    assert caught.value.code == "the job's process was killed"


def test_the_server_outlives_a_job_that_dies(server, log, tmp_path):
    with pytest.raises(SystemExit):
        run("die", log)
    run("describe", log, output=str(tmp_path / "out"))
    assert json.loads((tmp_path / "out").read_text())["pid"] != os.getpid()


def started_job(name, log, output, ignored=()):
    """A caller in a process of its own, once its job has begun, and the job's process id."""
    code = f"from sparrow.jobs.run import run; run('chores:{name}', {str(log)!r}, 1, output={str(output)!r})"
    caller = python(code, ignored=ignored, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: output.exists() and output.read_text())
    return caller, int(output.read_text())


def sleeping_job(log, output):
    """One that the server runs."""
    caller, job = started_job("sleep", log, output)
    assert job != caller.pid
    return caller, job


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_a_warm_job_ends_with_its_caller(server, log, tmp_path, how):
    caller, job = sleeping_job(log, tmp_path / "pid")
    caller.send_signal(how)
    caller.wait(timeout=60)
    wait_until(lambda: not lives(job))


def test_a_caller_ends_with_its_job(server, log, tmp_path):
    caller, job = sleeping_job(log, tmp_path / "pid")
    os.kill(job, signal.SIGKILL)
    assert caller.wait(timeout=60) == 1


def test_two_warm_jobs_run_at_once(server, log, tmp_path):
    callers = [sleeping_job(log, tmp_path / name) for name in ("one", "two")]
    assert [lives(job) for _, job in callers] == [True, True]
    for caller, _ in callers:
        caller.kill()
        caller.wait(timeout=60)


@pytest.mark.parametrize("told", [False, True], ids=["with who started it", "told"])
def test_the_server_ends_and_tidies_up(chores, monkeypatch, told):
    process = started(chores, monkeypatch)
    folder = Path(os.environ[fork_server.VARIABLE].rpartition(os.pathsep)[2]).parent
    wait_until((folder / "socket").exists)
    process.terminate() if told else process.stdin.close()
    assert (process.wait(timeout=60), folder.exists()) == (0, False)


def test_a_job_does_not_wait_for_what_others_import(chores, log, tmp_path, monkeypatch):
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'asked')!r}).exists(): time.sleep(0.01)"
    (tmp_path / "first.py").write_text(waits)
    (tmp_path / "second.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([SRC, str(chores), str(tmp_path)]))
    monkeypatch.chdir(tmp_path)
    address = Path("server", "socket")  # The path of a socket has to be short.
    address.parent.mkdir()
    code = f"from sparrow.jobs import fork_server as one; one.PRELOADED = ('first', 'second'); one.serve({str(address)!r})"
    process = python(code, stdin=subprocess.PIPE)
    wait_until(address.exists)
    request = {"function": "chores:loaded", "log": str(log), "threads": 1, "arguments": {"output": str(tmp_path / "out")}}
    with socket.socket(socket.AF_UNIX) as connection:
        wait_until(lambda: connection.connect_ex(str(address)) == 0)
        (tmp_path / "asked").touch()
        with connection.makefile("rw") as stream:
            print(json.dumps(request | {"directory": os.getcwd(), "environment": dict(os.environ)}), file=stream, flush=True)
            assert (stream.readline(), json.loads(stream.readline())["status"]) == ("accepted\n", 0)
    assert (tmp_path / "out").read_text() == "first"
    process.stdin.close()
    assert process.wait(timeout=60) == 0


# Signals to end.


@pytest.fixture(params=["cold", "warm"])
def where(request, server, monkeypatch):
    """In the process that Snakemake starts, or in one that the server forks."""
    if request.param == "cold":
        monkeypatch.delenv(fork_server.VARIABLE)


SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])


@SIGNALS
def test_a_job_told_to_end_may_save_and_fails_with_one_line(where, log, tmp_path, number):
    caller, _ = started_job("wait", log, tmp_path / "out")
    caller.send_signal(number)
    assert caller.communicate(timeout=60)[1] == f"{jobs.STOPPED}\n"
    assert (caller.returncode, (tmp_path / "out").read_text(), log.read_text()) == (1, "saved", f"{jobs.STOPPED}\n")


def test_who_is_told_to_end_before_it_reads_that_its_job_was_accepted_hands_it_on(server, log, tmp_path):
    """As on a busy machine, where the job is quicker than its caller."""
    told = "import os, signal; from sparrow.jobs import fork_server, run; accepted = fork_server._accepted"
    late = "lambda *given: (accepted(*given), os.kill(os.getpid(), signal.SIGINT))[0]"
    run = f"run.run('chores:wait', {str(log)!r}, 1, output={str(tmp_path / 'out')!r})"
    caller = python(f"{told}; fork_server._accepted = {late}; {run}", stderr=subprocess.PIPE, text=True)
    assert caller.communicate(timeout=60)[1] == f"{jobs.STOPPED}\n"
    assert caller.returncode == 1


def test_a_job_told_to_end_before_it_can_listen_fails_with_one_line(server, log, tmp_path):
    """As on a busy machine, where the caller is quicker than its job: here, one that waits for somebody to read its log."""
    os.mkfifo(log)
    hand_on = "import sys; from sparrow.jobs import fork_server, run; accepted, told = fork_server._accepted, sys.argv[1]"
    early = "lambda to, *given: (accepted(to, *given), fork_server._hand_on(to), open(told, 'w').close())[0]"
    run = f"run.run('chores:wait', {str(log)!r}, 1, output={str(tmp_path / 'out')!r})"
    code = f"{hand_on}; fork_server._accepted = {early}; {run}"
    caller = python(code, tmp_path / "told", stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "told").exists)
    time.sleep(0.1)  # For the signal to arrive; the job would still listen if it took longer.
    with open(os.open(log, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        assert (caller.communicate(timeout=60)[1], caller.returncode) == (f"{jobs.STOPPED}\n", 1)
        assert reader.read() == f"{jobs.STOPPED}\n"


def test_who_is_told_to_end_while_no_server_answers_ends(server, tmp_path, log):
    code = "import os, signal; from sparrow.jobs import fork_server, run"
    none = "lambda *given: os.kill(os.getpid(), signal.SIGTERM)"
    run = f"fork_server._accepted = {none}; run.run('chores:wait', {str(log)!r}, 1, output={str(tmp_path / 'out')!r})"
    assert subprocess.run([sys.executable, "-c", f"{code}; {run}"], check=False).returncode == -signal.SIGTERM
    assert not log.exists()


def test_a_job_that_defers_ends_when_it_is_ready(where, log, tmp_path):
    caller, _ = started_job("finish", log, tmp_path / "out")
    caller.send_signal(signal.SIGTERM)
    assert (caller.communicate(timeout=60)[1], caller.returncode) == ("", 0)
    assert (tmp_path / "out").read_text() == "finished"


def test_what_is_to_be_ignored_stays_ignored(where, log, tmp_path):
    # As under nohup: the terminal is closed, and the study goes on.
    caller, job = started_job("wait", log, tmp_path / "out", ignored=[signal.SIGHUP])
    caller.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert (caller.poll(), lives(job)) == (None, True)
    caller.send_signal(signal.SIGTERM)
    assert caller.wait(timeout=60) == 1


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfd_open here")
def test_a_job_ends_with_the_snakemake_that_started_it(where, log, tmp_path, monkeypatch):
    snakemake = subprocess.Popen(["sleep", "600"])
    monkeypatch.setenv("SPARROW_MAIN", f"{snakemake.pid}@{interruption._namespace()}")
    caller, job = started_job("wait", log, tmp_path / "out")
    snakemake.kill()
    snakemake.wait()
    assert caller.wait(timeout=60) == 1
    wait_until(lambda: not lives(job))
    assert (tmp_path / "out").read_text() == "saved"


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="no namespaces here")
def test_a_job_whose_snakemake_is_gone_before_it_starts_ends_too(where, log, tmp_path, monkeypatch):
    snakemake = subprocess.Popen(["true"])
    snakemake.wait()
    monkeypatch.setenv("SPARROW_MAIN", f"{snakemake.pid}@{interruption._namespace()}")
    code = f"from sparrow.jobs.run import run; run('chores:wait', {str(log)!r}, 1, output={str(tmp_path / 'out')!r})"
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"{jobs.STOPPED}\n")


def test_a_job_of_another_namespace_looks_after_nobody(where, log, tmp_path, monkeypatch):
    # In a container the number may be anybody's.
    monkeypatch.setenv("SPARROW_MAIN", f"{2**22 - 1}@1")
    caller, job = started_job("wait", log, tmp_path / "out")
    time.sleep(0.3)
    assert (caller.poll(), lives(job)) == (None, True)
    caller.terminate()
    caller.wait(timeout=60)


@pytest.mark.parametrize("leave", [True, False], ids=["under nohup", "at a terminal"])
def test_what_a_test_starts_listens_whatever_the_tests_ignore(leave, log):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN) if leave else signal.getsignal(signal.SIGHUP)
    try:
        child = python("import signal; print(signal.getsignal(signal.SIGHUP).name)", stdout=subprocess.PIPE, text=True)
        assert child.communicate(timeout=60)[0] == "SIG_DFL\n"
        assert signal.getsignal(signal.SIGHUP) == (signal.SIG_IGN if leave else before)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_where_snakemake_cannot_be_waited_for_it_is_looked_for(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    process, told, kill = subprocess.Popen(["sleep", "600"]), [], os.kill
    monkeypatch.setattr(
        interruption.time, "sleep", lambda seconds: (kill(process.pid, signal.SIGKILL), os.waitpid(process.pid, 0))
    )
    monkeypatch.setattr(os, "kill", lambda *arguments: told.append(arguments))
    interruption._watch(process.pid)
    assert told == [(os.getpid(), signal.SIGTERM)]


def test_a_second_request_is_no_more_than_the_first(where, log, tmp_path):
    # As when a batch system tells both a job and its steps.
    caller, job = started_job("finish", log, tmp_path / "out")
    for _ in range(3):
        os.kill(job, signal.SIGTERM)
        if caller.poll() is None:
            caller.terminate()
    assert caller.wait(timeout=60) == 0
    assert (tmp_path / "out").read_text() == "finished"


def test_a_job_that_is_done_listens_no_more(alone, log, tmp_path):
    execute("complete", log, output=str(tmp_path / "out"))
    assert {signal.getsignal(number) for number in interruption.SIGNALS} == {signal.SIG_IGN}
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_process_listens_no_longer_than_the_job(alone, log, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    execute("describe", log, output=str(tmp_path / "out"))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before


# No room.


def test_a_file_that_cannot_be_written_is_one_line(alone, log, tmp_path):
    (tmp_path / "file").write_text("")
    status, message = execute("fill", log, output=str(tmp_path / "file"))
    assert (status, message.startswith(f"error: {tmp_path}/file/table.csv: cannot be written: ")) == (1, True)
    assert "Traceback" not in log.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_without_room_is_one_line(alone, tmp_path):
    status, message = execute("warn", "/dev/full", output=str(tmp_path / "out"))
    assert (status, message) == (1, "error: /dev/full: cannot be written: no space left on device")


def test_a_log_that_is_a_folder_is_one_line(alone, tmp_path):
    assert execute("warn", tmp_path, output=str(tmp_path / "out")) == (
        1,
        f"error: {tmp_path}: cannot be written: [Errno 21] Is a directory: '{tmp_path}'",
    )


# Settings of the process.

PROBE = """
import sys, torch
from sparrow.jobs import run
from sparrow.jobs import journal
from sparrow.stages import data

def probe(output):
    # As large as it takes for several threads; all of it denormal.
    output.write_text(str(int((torch.full((1 << 22,), 1e-39) * 1).count_nonzero())))

probe.__module__ = data.__name__
data.probe = probe
run.run("sparrow.stages.data:probe", sys.argv[1], 2, output=sys.argv[2])
"""


def test_all_threads_of_a_stage_flush_denormals(log, tmp_path):
    environment = {**os.environ, "PYTHONPATH": SRC, fork_server.VARIABLE: ""}
    subprocess.run([sys.executable, "-c", PROBE, log, tmp_path / "out"], check=True, env=environment)
    assert (tmp_path / "out").read_text() == "0"
