#!/usr/bin/env python3
"""Loads onlooker with more than agents do, and counts what it tells.

    benches/load.py --onlooker target/release/onlooker [execs] [files] [connections]

execs:        5,000 programs, one after the other: each has one span with its exit code.
files:        10,000 operations on files a second for 30 s: the aggregates say for how many system calls they stand.
connections:  2,000 connections to a port of this process, each told once with its bytes.

What is not told must be counted as lost: `missing` is what neither tells. Root only.
"""

import argparse, collections, json, os, re, socket, subprocess, sys, tempfile, threading, time

EXECS, RATE, SECONDS, CONNECTIONS = 5_000, 10_000, 30, 2_000
FILES = 200


def execs():
    for number in range(EXECS):
        if (pid := os.posix_spawn("/bin/true", ["true", str(number)], os.environ)) and os.waitpid(pid, 0)[1]:
            sys.exit("true failed")
    return {"programs": EXECS}


def files():
    """Rounds of ten operations on a file: creat, two writes, a rename, chmod, truncate, a read, a link and two deletions."""
    done = collections.Counter()
    start = time.monotonic()
    folder = tempfile.mkdtemp(dir=os.environ["FOLDER"])
    rounds = RATE * SECONDS // 10
    for number in range(rounds):
        path = f"{folder}/{number % FILES}"
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        os.write(fd, b"one")
        os.write(fd, b"two")
        os.pread(fd, 6, 0)
        os.close(fd)
        os.rename(path, path + ".b")
        os.chmod(path + ".b", 0o600)
        os.truncate(path + ".b", 1)
        os.link(path + ".b", path + ".c")
        os.unlink(path + ".b")
        os.unlink(path + ".c")
        ahead = start + number * 10 / RATE - time.monotonic()
        if ahead > 0.01:
            time.sleep(ahead)
    for deed, count in {"write": 1, "rename": 1, "chmod": 1, "truncate": 1, "link": 1, "delete": 2}.items():
        done[deed] = rounds * count
    done["bytes written"] = rounds * 6
    done["operations a second"] = round(rounds * 10 / (time.monotonic() - start))
    os.rmdir(folder)
    return done


def connections():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve():
        for _ in range(CONNECTIONS):
            peer = listener.accept()[0]
            peer.sendall(peer.recv(4))
            peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    for _ in range(CONNECTIONS):
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"ping")
            client.recv(4)
    thread.join()
    return {"connections": CONNECTIONS}


LOADS = {"execs": execs, "files": files, "connections": connections}


def records(path):
    for line in open(path):
        for kind, scope, items in [("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")]:
            for resource in json.loads(line).get(kind, []):
                for one in resource[scope]:
                    for item in one[items]:
                        values = {a["key"]: next(iter(a["value"].values()), None) for a in item.get("attributes", [])}
                        yield item.get("eventName") or item.get("name"), values, items


def told(load, path):
    """What onlooker told, in the words of the load, and what it counted as lost."""
    seen, lost = collections.Counter(), 0
    for name, values, items in records(path):
        if name == "onlooker.heartbeat":
            counts = [v["stringValue"] for v in values["onlooker.heartbeat.counts"]["values"]]
            lost = sum(int(c.rpartition("=")[2]) for c in counts if re.match(r"(kernel\.dropped|queue\.dropped|exporter\.dropped)", c))
        elif load == "execs" and items == "spans" and values.get("process.executable.name") == "true":
            seen["programs"] += values.get("process.exit.code") == "0"
        elif load == "files" and name.startswith("onlooker.file."):
            deed, many = name.removeprefix("onlooker.file."), int(values.get("onlooker.file.operations", 1))
            seen[deed] += 0 if deed == "write" else many
            seen["bytes written"] += int(values.get("onlooker.file.written.bytes", 0))
        elif load == "connections" and name == "onlooker.network.connect":
            seen["connections"] += int(values.get("onlooker.network.count", 1))
    return seen, lost


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onlooker", required=True)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("loads", nargs="*", choices=[*LOADS, []], help="which (all)")
    args = parser.parse_args()
    if args.child:
        return print(json.dumps(LOADS[args.child]()))
    failed = False
    for load in args.loads or LOADS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--onlooker", "-", "--child", load]
            env = {**os.environ, "FOLDER": folder}
            run = lambda words: subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            start = time.monotonic()
            run(command).check_returncode()
            alone = time.monotonic() - start
            out = f"{folder}/out.jsonl"
            start = time.monotonic()
            done = run([args.onlooker, "run", "-o", out, "--", *command])
            taken = time.monotonic() - start
            if done.returncode:
                sys.exit(done.stderr)
            truth = json.loads(done.stdout)
            rate = truth.pop("operations a second", None)
            seen, lost = told(load, out)
            print(f"{load}: {alone:.1f} s alone, {taken:.1f} s watched (with start and stop), {lost} counted as lost"
                  + (f", {rate} operations/s" if rate else ""))
            for what, count in truth.items():
                if what == "write" and load == "files":
                    continue
                missing = count - seen[what]
                failed |= missing > lost
                print(f"  {what}: {count} done, {seen[what]} told, {missing} missing")
    sys.exit(failed)


main()
