#!/usr/bin/env python3
"""What onlooker costs processes that it does not watch.

    benches/unwatched.py --onlooker target/release/onlooker [--rounds 7] [--watching] [WORKLOAD…]

Each workload is run in turns without onlooker and with it as a service that watches all kinds of things, but none of
these processes: nobody at all, so that it lets system calls go, or with `--watching` an agent that sleeps. The ratio is
that of the processor time (user and system) of the workload and its children; beside it the time of the clock, and what
onlooker itself took. The smallest and the largest ratio show what is noise: compare with the row `nothing`, where both
turns are without onlooker. Root only; needs gcc.
"""

import argparse, os, pathlib, resource, shutil, statistics, subprocess, sys, tempfile, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/agents"))
import service

MICRO = r"""
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <sys/wait.h>
int main(int n, char **args) {
	long rounds = atol(args[2]);
	char path[4096], byte = 0, *what = args[1];
	snprintf(path, sizeof path, "%s/file", args[3]);
	if (!strcmp(what, "getppid")) while (rounds--) syscall(SYS_getppid);
	if (!strcmp(what, "read")) { int fd = open("/dev/zero", O_RDONLY); while (rounds--) if (read(fd, &byte, 1) != 1) return 1; }
	if (!strcmp(what, "file")) while (rounds--) {
		int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
		if (write(fd, &byte, 1) != 1 || fchmod(fd, 0640) || close(fd) || unlink(path)) return 1;
	}
	if (!strcmp(what, "connection")) {
		struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t size = sizeof at;
		int listener = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(listener, (void *)&at, size) || listen(listener, 8) || getsockname(listener, (void *)&at, &size)) return 1;
		while (rounds--) {
			int client = socket(AF_INET, SOCK_STREAM, 0);
			struct linger reset = { 1, 0 };
			setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
			if (connect(client, (void *)&at, size)) return 1;
			int server = accept(listener, 0, 0);
			if (write(client, &byte, 1) != 1 || read(server, &byte, 1) != 1) return 1;
			close(client); close(server);
		}
	}
	if (!strcmp(what, "exec")) while (rounds--) {
		pid_t child = vfork();
		if (!child) { execl("/bin/true", "true", NULL); _exit(1); }
		waitpid(child, 0, 0);
	}
	return 0;
}
"""

ROUNDS = {"getppid": 4_000_000, "read": 3_000_000, "file": 60_000, "connection": 15_000, "exec": 1_000}


def compile_sources(folder):
    """Sixty small files by gcc: processes, files and pipes."""
    for number in range(20):
        with open(f"{folder}/{number}.c", "w") as file:
            file.write("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n" + f"int f{number}(void) {{ return puts(\"x\"); }}\n")
    return ["sh", "-c", f"cd {folder} && for i in 1 2; do for f in *.c; do gcc -O1 -c $f; done; done"]


def workload(name, folder, micro):
    if name == "nothing":
        return [micro, "read", str(ROUNDS["read"]), folder]
    if name == "compile":
        return compile_sources(folder)
    return [micro, name, str(ROUNDS[name]), folder]


def measure(command):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), wall


class Watcher(service.Service):
    """A service that has let system calls go, or watches an agent that sleeps."""

    def __init__(self, binary, folder, agents, watching):
        alone = "{exe: /nowhere/at/all}" if agents == "rules" else ""
        super().__init__(binary, folder, f"{folder}/out.jsonl", f"agents: {agents}, include: [{alone}]")
        self.agent = None
        # What starts once, as the search of libraries, is not what is measured, and nobody is watched for some seconds.
        self.says(service.LET_GO) or sys.exit(1)
        if watching:
            # Known by its name.
            shutil.copy("/bin/sleep", f"{folder}/claude")
            self.agent = subprocess.Popen([f"{folder}/claude", "1000"])
            self.says(service.SEEN, 10) or sys.exit(1)

    def used(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.agent:
            self.agent.kill()
            self.agent.wait()
        super().stop()
        # Until the kernel has let everything go.
        time.sleep(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onlooker", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--agents", choices=["auto", "rules"], default="auto")
    parser.add_argument("--watching", action="store_true")
    parser.add_argument("workloads", nargs="*", default=["nothing", *ROUNDS, "compile"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        micro = f"{folder}/micro"
        subprocess.run(["gcc", "-O2", "-x", "c", "-", "-o", micro], input=MICRO, text=True, check=True)
        commands = {name: workload(name, folder, micro) for name in args.workloads}
        results = {name: [] for name in commands}
        for command in commands.values():
            measure(command)
        for _ in range(args.rounds):
            alone = {name: measure(command) for name, command in commands.items()}
            watcher = Watcher(args.onlooker, folder, args.agents, args.watching)
            for name, command in commands.items():
                if name == "nothing":
                    continue
                used = watcher.used()
                results[name].append((alone[name], measure(command), watcher.used() - used))
            watcher.stop()
            if "nothing" in commands:
                results["nothing"].append((alone["nothing"], measure(commands["nothing"]), 0))
    print(f"{'workload':12}{'each alone':>14}{'difference':>14}{'ratio':>8}{'range':>16}{'clock':>8}{'onlooker':>10}")
    for name, rows in results.items():
        ratios = sorted(watched[0] / alone[0] for alone, watched, _ in rows)
        clock = statistics.median(watched[1] / alone[1] for alone, watched, _ in rows)
        count = ROUNDS.get(name if name != "nothing" else "read", 1)
        alone = statistics.median(alone[0] for alone, *_ in rows) / count
        more = statistics.median((watched[0] - alone[0]) for alone, watched, _ in rows) / count
        unit = lambda seconds: f"{seconds * 1e9:.0f} ns" if abs(seconds) < 1e-5 else f"{seconds * 1e6:.0f} us" if abs(seconds) < 1e-2 else f"{seconds:.2f} s"
        own = statistics.median(own for *_, own in rows)
        print(f"{name:12}{unit(alone):>14}{unit(more):>14}{statistics.median(ratios):8.3f}{ratios[0]:8.3f}–{ratios[-1]:.3f}{clock:8.3f}{own:8.2f} s")


main()
