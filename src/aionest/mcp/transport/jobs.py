"""A server and all that it has started, on Windows: a job object, which the system ends with the process that holds it.

Contract
  * The process starts suspended and goes on once it is in the job, so nothing that it starts can be outside.
  * The job is ended when its last handle is closed, by ``close()`` or by the end of this process, however that comes: so there is
    no guardian. The handle is inherited by nobody.
  * The process has a console of its own, without a window: a Ctrl-C in the console of this process is not for it.
  * Where the system makes no job, or the process cannot be put into one, it runs without, and ends alone.

Windows has no SIGTERM: ``ask()`` does nothing. Used in the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

log = logging.getLogger("aionest.mcp")

if sys.platform == "win32":
    import _winapi
    import ctypes
    from ctypes import wintypes

    _CREATE_SUSPENDED = 0x4
    FLAGS = _CREATE_SUSPENDED | subprocess.CREATE_NO_WINDOW

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _nt = ctypes.WinDLL("ntdll")
    _kernel.CreateJobObjectW.argtypes = [ctypes.c_void_p, wintypes.LPCWSTR]
    _kernel.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel.SetInformationJobObject.argtypes = [wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD]
    _kernel.QueryInformationJobObject.argtypes = [*_kernel.SetInformationJobObject.argtypes, ctypes.c_void_p]
    _kernel.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
    _kernel.TerminateJobObject.argtypes = [wintypes.HANDLE, wintypes.UINT]
    _nt.NtResumeProcess.argtypes = [wintypes.HANDLE]
    _nt.NtResumeProcess.restype = ctypes.c_long

    class _Limits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION"""

        _fields_ = (
            ("times", ctypes.c_int64 * 2),
            ("flags", wintypes.DWORD),
            ("working_set", ctypes.c_size_t * 2),
            ("processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("classes", wintypes.DWORD * 2),
            ("io", ctypes.c_uint64 * 6),
            ("memory", ctypes.c_size_t * 4),
        )

    class _Accounts(ctypes.Structure):
        """JOBOBJECT_BASIC_ACCOUNTING_INFORMATION"""

        _fields_ = (
            ("times", ctypes.c_int64 * 4),
            ("faults", wintypes.DWORD),
            ("total", wintypes.DWORD),
            ("active", wintypes.DWORD),
            ("terminated", wintypes.DWORD),
        )

    _EXTENDED_LIMITS, _ACCOUNTS = 9, 1  # of enum JOBOBJECTINFOCLASS
    _KILL_ON_JOB_CLOSE = 0x2000

    def _make_job() -> int | None:
        """Its handle; None, and a note in the log, if there is none."""
        job = _kernel.CreateJobObjectW(None, None)
        limits = _Limits(flags=_KILL_ON_JOB_CLOSE)
        if job and _kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)):
            return int(job)
        log.debug("no job for a server: %s", ctypes.WinError(ctypes.get_last_error()))
        if job:
            _winapi.CloseHandle(job)
        return None

    class Family:
        """The job of a process that was started with FLAGS, which goes on now.

        :raises OSError: it cannot go on.
        """

        def __init__(self, transport: asyncio.SubprocessTransport) -> None:
            process = transport.get_extra_info("subprocess")
            self._process: subprocess.Popen[bytes] = process
            self._job = _make_job()
            if self._job is not None and not _kernel.AssignProcessToJobObject(self._job, int(process._handle)):
                log.debug("a server is in no job: %s", ctypes.WinError(ctypes.get_last_error()))
                self.close()
            if _nt.NtResumeProcess(int(process._handle)) < 0:
                self.close()
                raise OSError(f"process {process.pid} was started but could not be resumed")

        def has_ended(self) -> bool:
            """The process itself, also before the loop has been told."""
            return self._process.poll() is not None

        def ask(self) -> bool:
            """(There is no way to ask them to end.)"""
            return False

        def alive(self) -> bool:
            """Is any of them left?"""
            accounts = _Accounts()
            return self._job is not None and bool(
                _kernel.QueryInformationJobObject(
                    self._job, _ACCOUNTS, ctypes.byref(accounts), ctypes.sizeof(accounts), None
                )
                and accounts.active
            )

        def kill(self) -> None:
            """End all of them."""
            if self._job is not None:
                _kernel.TerminateJobObject(self._job, 1)
            elif self._process.poll() is None:
                self._process.kill()

        def close(self) -> None:
            """What is left of them ends."""
            job, self._job = self._job, None
            if job is not None:
                _winapi.CloseHandle(job)
