#!/usr/bin/python3
"""The first process of a machine that kernels.py started: runs what /plan.json asks for, tells each outcome as a line
of JSON behind a marker, and turns the machine off."""
import ctypes, fcntl, json, os, socket, struct, subprocess, sys, time

MARK = "@onlooker "
libc = ctypes.CDLL(None, use_errno=True)


def mount(kind, where):
    os.makedirs(where, exist_ok=True)
    if libc.mount(kind.encode(), where.encode(), kind.encode(), 0, None):
        tell(what="note", text=f"{kind} cannot be mounted: {os.strerror(ctypes.get_errno())}")


def tell(**what):
    print(f"\n{MARK}{json.dumps(what)}", flush=True)


def loopback_up():
    # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP (include/uapi/linux/sockios.h, if.h)
    with socket.socket() as any_socket:
        name, flags = struct.unpack("16sh", fcntl.ioctl(any_socket, 0x8913, struct.pack("16sh", b"lo", 0))[:18])
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", name, flags | 1))


def run(command, timeout):
    """Exit code (none: it was ended after its time) and output."""
    began = time.monotonic()
    # A file, not a pipe: what a command leaves behind in the background must not hold this up.
    with open("/tmp/output", "w+b") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            code = None
        output.seek(0)
        text = output.read().decode(errors="replace")
    return code, text, round(time.monotonic() - began, 1)


def work():
    plan = json.load(open("/plan.json"))
    tell(what="kernel", release=os.uname().release, python=sys.version.split()[0])
    for command in plan["commands"]:
        code, text, seconds = run(["/bin/sh", "-c", command], plan["timeout"])
        tell(what="command", command=command, code=code, output=text, seconds=seconds)
    for suite, tests in plan["suites"].items():
        for test in tests:
            code, text, seconds = run([f"/tests/{suite}", "--exact", test, "--nocapture"], plan["timeout"])
            skipped = next((line for line in text.splitlines() if line.startswith("SKIPPED ")), None)
            result = "timeout" if code is None else "FAILED" if code else "skipped" if skipped else "ok"
            tell(what="test", suite=suite, test=test, result=result, seconds=seconds, output=text if result != "ok" else "")
    tell(what="end")


if __name__ == "__main__":
    os.environ.update(PATH="/usr/bin:/usr/sbin:/bin:/sbin", HOME="/root", LANG="C.UTF-8")
    for kind, where in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp"), ("tmpfs", "/run"), ("devpts", "/dev/pts"),
                        ("tmpfs", "/dev/shm"), ("tracefs", "/sys/kernel/tracing"), ("cgroup2", "/sys/fs/cgroup")]:
        mount(kind, where)
    loopback_up()
    worker = os.fork()
    if worker == 0:
        try:
            work()
        except BaseException as error:
            tell(what="note", text=f"{type(error).__name__}: {error}")
        os._exit(0)
    # The parent of whoever lost theirs.
    while os.wait()[0] != worker:
        pass
    sys.stdout.flush()
    os.sync()
    libc.reboot(0x4321fedc)  # LINUX_REBOOT_CMD_POWER_OFF
    libc.reboot(0x01234567)  # … RESTART, where that is not possible
