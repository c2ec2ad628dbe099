"""A server process: started with a log file, signalled and ended by its own pid."""

import functools
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path


class Process:
    """A child process whose output goes to `log`.

    `user` is the name of the account to run as, None for the own one. `last_signal` reaches the
    process when this one dies without a chance to clean up, as on SIGKILL (Linux only).
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        user: str | None = None,
        stop_signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL),
        last_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._stop_signals = stop_signals
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*_end_with_parent(last_signal), *args],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for the test run, which then stops its servers in order.
                start_new_session=True,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while the process runs."""
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        self._popen.send_signal(number)

    def is_stopped(self) -> bool:
        """Whether SIGSTOP has reached every thread (proc(5)); True where the system does not tell."""
        try:
            threads = [path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/stat")]
        except OSError:  # a thread has ended meanwhile
            return False
        return all(text.rpartition(")")[2].split()[0] in "TZX" for text in threads)

    def wait(self, timeout: float) -> int:
        """The exit status of a process that ends by itself; killed when it takes too long."""
        try:
            return self._popen.wait(timeout)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 20.0) -> None:
        """Ask the process to end, ever less politely, and wait until it has."""
        if self.returncode is not None:
            return
        self.signal(signal.SIGCONT)  # a paused process would not see the next one
        for number in self._stop_signals:
            self.signal(number)
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                continue
            return
        self.kill()

    def kill(self) -> None:
        """End the process at once and wait until it is gone."""
        self._popen.kill()
        self._popen.wait(60)


def ends_with_parent() -> bool:
    """Whether processes end with this one, however it ends."""
    return _setpriv() is not None


def _end_with_parent(number: signal.Signals) -> list[str]:
    # PR_SET_PDEATHSIG (prctl(2)) fires when the parent *thread* ends, so only the main one may use
    # it. setpriv(1) sets it and becomes the server, keeping the pid.
    setpriv = _setpriv()
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", number.name.removeprefix("SIG"), "--"]


@functools.cache
def _setpriv() -> str | None:
    path = shutil.which("setpriv")
    if path is None:
        return None
    # BusyBox has a setpriv without this option.
    check = subprocess.run(
        [path, "--pdeathsig", "KILL", "--", "true"], capture_output=True, check=False, timeout=10
    )
    return path if check.returncode == 0 else None
