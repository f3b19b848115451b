"""onlooker as a service that writes what it tells into a file, for whoever starts something beside it."""
import pathlib, subprocess, sys, time

CONFIG = """
receivers: {ebpf: {%s}}
processors: {identity: , provider: , correlation: }
exporters: {file: {path: %s}}
service:
  telemetry: {logs: {level: debug}}
  pipelines:
    traces: {receivers: [ebpf], processors: [identity, provider, correlation], exporters: [file]}
    logs: {receivers: [ebpf], processors: [identity, provider, correlation], exporters: [file]}
"""
LET_GO = "System calls are let go"
SEEN = "System calls are seen"


class Service:
    """Runs from here to `stop`. `receiver`: settings of the receiver, as `agents: rules`."""

    def __init__(self, onlooker, folder, out, receiver=""):
        folder = pathlib.Path(folder)
        config, self.log = folder / "service.yaml", folder / "service.log"
        config.write_text(CONFIG % (receiver, out))
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([onlooker, "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def says(self, line, seconds=60):
        """Waits until the log has a line; false if that took too long."""
        end = time.monotonic() + seconds
        while line not in self.log.read_text():
            if self.process.poll() is not None:
                sys.exit(self.log.read_text())
            if time.monotonic() > end:
                print(f"onlooker did not say: {line}", file=sys.stderr)
                return False
            time.sleep(0.02)
        return True

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
