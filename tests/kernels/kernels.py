"""Runs the kernel tests in other kernels than this machine's, in qemu without KVM.

usage: kernels.py [--suites kernel,socket,file,capture,lookback] [--tests WORD,…] [--command COMMAND]
                  [--onlooker PATH] [--logs DIR] VMLINUZ…

Each VMLINUZ is a kernel image (x86_64, with BTF); nothing is fetched. The machine has one processor, no disk and no
network but loopback, and sees this machine's own programs (python3, openssl, curl, a shell and a few more), packed with
their libraries into an initramfs. Prints a row a test and a column a kernel; the exit code is 1 if a test failed, if
a kernel refused a probe, or did not come to the end.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, sysconfig, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MARK = "@onlooker "
SUITES = ["kernel", "socket", "file", "capture", "lookback"]
# Of this machine's programs, what the tests run.
PROGRAMS = ["sh", "bash", "cat", "cp", "echo", "env", "false", "head", "id", "ls", "mkdir", "mktemp", "rm", "sed", "seq", "setsid", "sleep",
            "tail", "touch", "true", "uname", "wc", "awk", "grep", "ldd", "curl", "openssl"]
# Of Python's library, what nobody needs here.
UNUSED = {"test", "tests", "site-packages", "dist-packages", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "distutils"}
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "cpio": "cpio", "openssl": "openssl", "curl": "curl", "strip": "binutils"}


def missing():
    return [f"{program} (Debian: apt-get install {package})" for program, package in NEEDED.items() if not shutil.which(program)]


def build():
    """Builds the test programs and onlooker; gives their paths by name."""
    found = {}
    suites = [word for suite in SUITES for word in ("--test", suite)]
    for what in (["test", "--no-run", "--workspace", *suites], ["build", "--workspace"]):
        command = [os.environ.get("CARGO", "cargo"), *what, "--message-format=json-render-diagnostics"]
        lines = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.splitlines()
        for line in map(json.loads, lines):
            if line.get("reason") == "compiler-artifact" and line.get("executable"):
                found[line["target"]["name"]] = pathlib.Path(line["executable"])
    return found


def tests(binary):
    """Names of the tests that are not ignored."""
    names = lambda *more: {line.removesuffix(": test") for line in subprocess.run(
        [binary, "--list", "--format", "terse", *more], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines() if line.endswith(": test")}
    return sorted(names() - names("--ignored"))


class Image:
    """A file system that is filled with this machine's programs, each at its own path."""

    def __init__(self, root):
        self.root = root
        for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "tests", "root", "etc", "proc", "sys", "dev", "tmp", "run"):
            (root / folder).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")

    def copy(self, source, at=None, strip=False):
        """A file with the libraries that it is linked with."""
        target = self.root / str(at or source).lstrip("/")
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(source), target)
        if strip:
            # The symbols stay: tests look for their own.
            subprocess.run(["strip", "-g", target], check=True)
        with open(target, "rb") as file:
            if file.read(4) != b"\x7fELF":
                return
        linked = subprocess.run(["ldd", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        for line in linked.splitlines():
            words = line.split()
            paths = [word for word in words if word.startswith("/")]
            if paths:
                # The interpreter stands alone, a library behind its name.
                self.copy(paths[0] if words[0].startswith("/") else paths[-1])

    def program(self, name):
        path = shutil.which(name)
        if not path:
            return
        real = os.path.realpath(path)
        self.copy(real)
        link = self.root / "usr/bin" / name
        if not link.exists():
            link.symlink_to(real)

    def python(self):
        """The interpreter that runs this, with its library."""
        real = os.path.realpath(sys.executable)
        self.copy(real)
        (self.root / "usr/bin/python3").exists() or (self.root / "usr/bin/python3").symlink_to(real)
        library = pathlib.Path(sysconfig.get_path("stdlib"))
        for folder, folders, files in os.walk(library):
            folders[:] = [name for name in folders if name not in UNUSED and not name.startswith("config-")]
            for name in files:
                if "__pycache__" in folder and ".opt-" in name:
                    continue
                self.copy(os.path.join(folder, name))

    def pack(self, file):
        names = subprocess.Popen(["find", "."], cwd=self.root, stdout=subprocess.PIPE)
        with open(file, "wb") as output:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=self.root, stdin=names.stdout, stdout=output, check=True)
        names.wait()


def boot(kernel, initrd, log, timeout):
    """Runs a kernel until it turns itself off. Gives what it told."""
    # TCG only: it is the same everywhere. One processor: more of them do not make it faster. cx16 is off because of kernels that
    # panic over the emulated one.
    command = ["nice", "qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-cpu", os.environ.get("QEMU_CPU", "Haswell,-cx16"), "-m", "3072", "-smp", "1",
               "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 loglevel=2 panic=-1 rdinit=/init", "-nographic", "-no-reboot",
               "-nodefaults", "-serial", "stdio"]
    try:
        with open(log, "wb") as output:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=timeout)
    except subprocess.TimeoutExpired:
        pass
    told = []
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith(MARK):
            try:
                told.append(json.loads(line.removeprefix(MARK)))
            except ValueError:
                told.append({"what": "note", "text": f"a line that cannot be read: {line[:200]}"})
    return told


def report(kernels):
    """Prints what the kernels told. True if all is well."""
    fine = True
    rows = {}
    for name, told in kernels.items():
        for line in told:
            if line["what"] == "test":
                rows.setdefault(f"{line['suite']}: {line['test']}", {})[name] = line
    for name, told in kernels.items():
        print(f"\n== {name}")
        for line in told:
            if line["what"] == "note":
                print(f"note: {line['text']}")
            if line["what"] == "command":
                code = "ended after its time" if line["code"] is None else f"exit code {line['code']}"
                print(f"$ {line['command']}   ({code}, {line['seconds']} s)\n{line['output'].rstrip()}")
            if line["what"] == "command" and line["code"] != 0:
                fine = False
            if line["what"] == "test" and line["result"] != "ok":
                fine &= line["result"] == "skipped"
                print(f"-- {line['suite']}: {line['test']}: {line['result']}\n{line['output'].strip()[-3000:]}")
        if not told or told[-1]["what"] != "end":
            fine = False
            print("it did not come to the end: see its log")
    if rows:
        width = max(map(len, rows))
        print(f"\n{'':{width}}  " + "  ".join(f"{name:>16}" for name in kernels))
        for row, cells in sorted(rows.items()):
            text = lambda name: f"{cells[name]['result']} {cells[name]['seconds']:5.0f} s" if name in cells else "-"
            print(f"{row:{width}}  " + "  ".join(f"{text(name):>16}" for name in kernels))
    for name, told in kernels.items():
        results = [line["result"] for line in told if line["what"] == "test"]
        counts = ", ".join(f"{results.count(kind)} {kind}" for kind in ("ok", "skipped", "FAILED", "timeout") if kind in results)
        print(f"{name}: {counts or 'no tests'}")
    return fine


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kernels", nargs="*")
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--tests", default="", help="only those with one of these words in their names, by commas")
    parser.add_argument("--command", action="append", help="instead of `onlooker doctor`; may be repeated")
    parser.add_argument("--onlooker", type=pathlib.Path, help="a built one: runs the commands, and no tests")
    parser.add_argument("--logs", type=pathlib.Path, default=ROOT / "target/kernels")
    parser.add_argument("--timeout", type=int, default=600, help="seconds a test or command may take")
    arguments = parser.parse_args()
    if not arguments.kernels:
        sys.exit("no kernel is given: KERNELS=\"/path/vmlinuz-5.10 …\" make kernel-matrix (tests/kernels/README.md says how to get some)")
    lacking = missing() + [f"{kernel} (no such file)" for kernel in arguments.kernels if not os.path.isfile(kernel)]
    if lacking:
        sys.exit("missing: " + "; ".join(lacking))
    built = {"onlooker": arguments.onlooker} if arguments.onlooker else build()
    wanted = [] if arguments.onlooker else [suite for suite in arguments.suites.split(",") if suite]
    suites = {suite: [test for test in tests(built[suite]) if any(word in test for word in arguments.tests.split(","))] for suite in wanted}
    arguments.logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onlooker-kernels-") as scratch:
        scratch = pathlib.Path(scratch)
        image = Image(scratch / "root")
        for name in PROGRAMS:
            image.program(name)
        image.python()
        for suite in suites:
            image.copy(built[suite], f"/tests/{suite}", strip=True)
        image.copy(built["onlooker"], "/usr/bin/onlooker", strip=True)
        for file in ("/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf"):
            if os.path.isfile(file):
                image.copy(file)
        (image.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (image.root / "etc/group").write_text("root:x:0:\n")
        (image.root / "etc/resolv.conf").write_text("")
        (image.root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
        (image.root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        shutil.copy2(HERE / "guest.py", image.root / "init")
        (image.root / "init").chmod(0o755)
        commands = ["onlooker doctor"] if arguments.command is None else arguments.command
        plan = {"commands": commands, "suites": suites, "timeout": arguments.timeout}
        (image.root / "plan.json").write_text(json.dumps(plan))
        image.pack(scratch / "initrd")
        shutil.rmtree(image.root)
        kernels = {}
        whole = 60 + arguments.timeout * (len(commands) + sum(map(len, suites.values())))
        for kernel in arguments.kernels:
            name = pathlib.Path(kernel).name.removeprefix("vmlinuz-")
            began = time.monotonic()
            kernels[name[:16]] = boot(kernel, scratch / "initrd", arguments.logs / f"{name}.log", whole)
            print(f"{name}: {time.monotonic() - began:.0f} s, {arguments.logs / name}.log", file=sys.stderr, flush=True)
    sys.exit(0 if report(kernels) else 1)


if __name__ == "__main__":
    main()
