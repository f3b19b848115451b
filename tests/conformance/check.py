"""Checks OTLP/JSON lines against the GenAI conventions: what `weaver registry live-check` and the policies of
open-telemetry/semantic-conventions-conformance call a violation, and some rules of the conventions' text beyond.

usage: check.py [--profile 2026-08|next] [--no-schemas] FILE…

Prints each kind of violation with an example and how often it was met, and what could not be otherwise apart from that
(a call that failed has no answer to tell of). Exit code 1 if there is a violation. Needs PyYAML, and jsonschema for content.
"""
import argparse, collections, json, pathlib, re, sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
REGISTRY = HERE.parent.parent / "pipeline/registry"
NAME = re.compile(r"^[a-z][a-z0-9]*([._][a-z0-9]+)*$")
KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
INFERENCE = ("chat", "generate_content", "text_completion")
KEYED = {**dict.fromkeys((*INFERENCE, "embeddings"), "gen_ai.request.model"), "execute_tool": "gen_ai.tool.name",
         "invoke_agent": "gen_ai.agent.name", "retrieval": "gen_ai.data_source.id"}
# Recommended without a condition, but only there if the request or the provider has them (the official policy's list).
NOT_ALWAYS = {"gen_ai.request.temperature", "gen_ai.request.max_tokens", "gen_ai.request.top_p", "gen_ai.request.stop_sequences",
              "gen_ai.request.presence_penalty", "gen_ai.request.frequency_penalty", "gen_ai.usage.cache_creation.input_tokens",
              "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_read.input_tokens", "gen_ai.tool.description"}
SCHEMAS = {"gen_ai.input.messages": "input-messages", "gen_ai.output.messages": "output-messages",
           "gen_ai.system_instructions": "system-instructions", "gen_ai.tool.definitions": "tool-definitions",
           "gen_ai.retrieval.documents": "retrieval-documents", "gen_ai.tool.call.arguments": "tool-call-arguments",
           "gen_ai.tool.call.result": "tool-call-result"}


def registry(profile):
    """Attributes: name → (type, values); events; the conventions' metrics: name → (instrument, unit)."""
    attributes, events, section = {}, set(), "attributes"
    for line in (REGISTRY / "semconv.txt").read_text().splitlines():
        if line.startswith("#"):
            for start, name in (("# Added", "next"), ("# Not of", "asked"), ("# Events", "events"), ("# Metrics", "metrics")):
                section = name if line.startswith(start) else section
            continue
        head, _, values = line.partition(" = ")
        name, kind = head.split(" ", 1)
        if section == "events":
            events.add(name)
        elif section in ("attributes", "asked") or section == "next" and profile == "next":
            attributes[name] = (kind, values.split())
    for group in yaml.safe_load((REGISTRY / "onlooker.yaml").read_text())["groups"]:
        if group["type"] == "event":
            events.add(group["name"])
        for attribute in group.get("attributes", []) if group["type"] == "attribute_group" else []:
            kind = attribute["type"]
            attributes[attribute["id"]] = (kind, []) if isinstance(kind, str) else ("string", [member["value"] for member in kind["members"]])
    return attributes, events


def plain(value):
    """An AnyValue as (type, value)."""
    if not value:
        return None, None
    kind, value = next(iter(value.items()))
    if kind == "arrayValue":
        items = [plain(item) for item in value.get("values", [])]
        kinds = {kind for kind, _ in items}
        return (f"{kinds.pop()}[]" if len(kinds) == 1 else "mixed[]" if kinds else "string[]"), [value for _, value in items]
    if kind == "kvlistValue":
        return "map", {entry["key"]: plain(entry.get("value"))[1] for entry in value.get("values", [])}
    kind = {"stringValue": "string", "intValue": "int", "doubleValue": "double", "boolValue": "boolean", "bytesValue": "bytes"}[kind]
    return kind, int(value) if kind == "int" else value


class Checker:
    def __init__(self, profile, schemas=True):
        self.profile, self.model = profile, yaml.safe_load((HERE / "model.yaml").read_text())
        self.attributes, self.events = registry(profile)
        self.old = self.model["next"]["renamed_attributes"] if profile == "next" else {}
        self.metrics = dict(self.model["metrics"])
        if profile == "next":
            following = self.model["next"]
            for old, new in following["renamed_metrics"].items():
                self.metrics[new] = self.metrics[old]
            for name in following["removed_metrics"]:
                del self.metrics[name]
            self.metrics.update(following["counters"]), self.metrics.update(following["histograms"])
        self.validators = {}
        if schemas:
            import jsonschema
            for name, file in SCHEMAS.items():
                schema = json.loads((REGISTRY / f"schemas/gen-ai-{file}.json").read_text())
                if profile == "next" and name == "gen_ai.output.messages":
                    # The finish reason is optional there, and deprecated.
                    schema["$defs"]["OutputMessage"]["required"].remove("finish_reason")
                self.validators[name] = jsonschema.Draft202012Validator(schema)
        self.violations, self.excused = collections.defaultdict(list), collections.defaultdict(list)
        self.counts, self.errors = collections.Counter(), {"span": set(), "metric": set()}
        self.seen = collections.defaultdict(set)

    def wrong(self, kind, what, excused=False):
        (self.excused if excused else self.violations)[kind].append(what)

    def values(self, entries, where):
        found = {}
        for entry in entries or []:
            name, (kind, value) = entry["key"], plain(entry.get("value"))
            if name in found:
                self.wrong("attribute_twice", f"{where}: {name}")
            found[name] = value
            self.counts["attributes"] += 1
            self.seen["attributes"].add(name)
            if not NAME.match(name):
                self.wrong("invalid_format", f"{where}: {name}")
            parts = name.split(".")
            for at in range(1, len(parts)):
                if ".".join(parts[:at]) in self.attributes:
                    self.wrong("illegal_namespace", f"{where}: {name}")
            if name in self.old:
                self.wrong("deprecated", f"{where}: {name}, now {self.old[name]}")
            if name not in self.attributes:
                self.wrong("missing_attribute", f"{where}: {name} = {value!r}")
                continue
            wanted, values = self.attributes[name]
            if wanted != "any" and kind != wanted and not wanted.startswith("template"):
                self.wrong("type_mismatch", f"{where}: {name} is {kind}, not {wanted}")
            if values and value not in values and name != "gen_ai.provider.name":
                self.wrong("undefined_enum_variant", f"{where}: {name} = {value!r}")
            if name in self.validators:
                self.content(name, kind, value, where)
        return found

    def content(self, name, kind, value, where):
        self.counts["content"] += 1
        if kind == "string":
            try:
                value = json.loads(value)
            except ValueError:
                return self.wrong("genai_content_schema", f"{where}: {name} is no JSON: {value[:80]!r}", excused=name.startswith("gen_ai.tool.call."))
        for error in list(self.validators[name].iter_errors(value))[:1]:
            # A tool's arguments or result need not be an object on the wire.
            self.wrong("genai_content_schema", f"{where}: {name}: {error.message[:160]} at {list(error.absolute_path)}", excused=name.startswith("gen_ai.tool.call."))

    def span(self, span, resource, scope):
        self.counts["spans"] += 1
        where = f"span '{span['name']}'"
        found = self.values(span.get("attributes"), where)
        for event in span.get("events", []):
            if event["name"] not in self.events:
                self.wrong("missing_event", f"{where}: {event['name']}")
            self.values(event.get("attributes"), f"{where}, event {event['name']}")
        for link in span.get("links", []):
            self.values(link.get("attributes"), where)
        kind, status = KINDS.get(span.get("kind"), "unspecified"), span.get("status", {})
        failed = status.get("code") == 2
        if status.get("code") == 1:
            self.wrong("span_status_ok", where)
        if failed != ("error.type" in found):
            self.wrong("error_type_iff_error", f"{where}: status {status}, error.type {found.get('error.type')!r}")
        if failed and found.get("error.type") == status.get("message"):
            self.wrong("status_repeats_error_type", where)
        if int(span["endTimeUnixNano"]) < int(span["startTimeUnixNano"]):
            self.wrong("ends_before_it_starts", where)
        if "server.address" in found and "server.port" not in found:
            self.wrong("server_port_missing", where)
        if not scope.get("scope", {}).get("name") or not scope.get("schemaUrl"):
            self.wrong("scope", where)
        if "error.type" in found and found.get("gen_ai.operation.name") in (*INFERENCE, "embeddings", "execute_tool"):
            self.errors["span"].add(found["error.type"])
        operation, method = found.get("gen_ai.operation.name"), found.get("mcp.method.name")
        self.seen["spans"].add(f"{operation or method or 'cli'} ({kind})")
        if method and kind in ("client", "server"):
            target = found.get("gen_ai.tool.name") or found.get("gen_ai.prompt.name")
            self.shape(where, span, found, f"mcp.{kind}", f"{method} {target}" if target else method, kind, failed)
            if (operation == "execute_tool") != (method == "tools/call"):
                self.wrong("mcp_operation", f"{where}: {operation} for {method}")
        elif operation:
            if operation not in self.attributes["gen_ai.operation.name"][1]:
                return self.wrong("genai_operation_name_unknown", f"{where}: {operation}")
            keyed = found.get(KEYED.get(operation))
            types = {name: model for name, model in self.model["spans"].items() if operation in model["operations"] and name.startswith("gen_ai.")}
            if kind not in {model["kind"] for model in types.values()}:
                self.wrong("genai_span_kind_unexpected", f"{where}: {kind}")
            for name, model in types.items():
                if model["kind"] == kind:
                    self.shape(where, span, found, name, f"{operation} {keyed}" if keyed else operation, kind, failed)
        else:
            # A process: the CLI span of the core conventions.
            if span["name"] != found.get("process.executable.name"):
                self.wrong("cli_span_name", f"{where}: {found.get('process.executable.name')}")
            for name in ("process.executable.name", "process.pid", "process.exit.code"):
                if name not in found:
                    self.wrong("required_attribute_not_present", f"{where}: {name}", excused=found.get("onlooker.process.replaced") and name.endswith("code"))
            if "process.exit.code" in found and failed != (found["process.exit.code"] != 0):
                self.wrong("cli_span_error", f"{where}: exit code {found['process.exit.code']}, status {status}")

    def shape(self, where, span, found, model_name, wanted_name, kind, failed):
        if span["name"] != wanted_name:
            self.wrong("genai_span_name_format", f"{where}: should be '{wanted_name}'")
        model = self.model["spans"][model_name]
        for name in model["required"]:
            if name not in found:
                self.wrong("required_attribute_not_present", f"{where}: {name}")
        if model_name.startswith("mcp."):
            return
        for name in model.get("expected", []):
            if name not in found and name not in NOT_ALWAYS:
                # What the provider does not say cannot be told: agents.py compares with what it did say. And a request names
                # only what its caller sets.
                excused = name.startswith(("gen_ai.response.", "gen_ai.usage.")) or name in ("gen_ai.request.encoding_formats", "gen_ai.embeddings.dimension.count", "gen_ai.retrieval.top_k")
                self.wrong("genai_expected_attribute_missing", f"{where}: {name}", excused=excused)

    def record(self, record, resource, scope):
        self.counts["log records"] += 1
        name = record.get("eventName")
        where = f"event {name}"
        self.seen["events"].add(name)
        if name not in self.events:
            self.wrong("missing_event", where)
        if not int(record.get("timeUnixNano", 0)) or not record.get("severityNumber"):
            self.wrong("event_without_time_or_severity", where)
        found = self.values(record.get("attributes"), where)
        for entry in record.get("attributes", []):
            if entry["key"] in SCHEMAS and not entry["key"].startswith("gen_ai.tool.call.") and "stringValue" in entry["value"]:
                self.wrong("content_not_structured", f"{where}: {entry['key']}")
        if name == "gen_ai.client.inference.operation.details" and found.get("gen_ai.operation.name") not in INFERENCE:
            self.wrong("details_of_no_inference", f"{where}: {found.get('gen_ai.operation.name')}")
        if name == "gen_ai.client.operation.exception" and (record["severityNumber"] != 13 or not {"exception.type", "exception.message"} & found.keys()):
            self.wrong("exception_event", where)

    def metric(self, metric, resource, scope):
        name = metric["name"]
        self.counts["metrics"] += 1
        self.seen["metrics"].add(name)
        kind = next((kind for kind in ("histogram", "sum", "gauge") if kind in metric), None)
        model = self.metrics.get(name)
        if model is None:
            return self.wrong("missing_metric", name)
        if {"histogram": "histogram", "sum": "counter"}.get(kind) != model["instrument"]:
            self.wrong("unexpected_instrument", f"{name}: {kind}")
        if metric.get("unit") != model["unit"]:
            self.wrong("unit_mismatch", f"{name}: {metric.get('unit')}")
        if kind == "sum" and not metric[kind].get("isMonotonic"):
            self.wrong("counter_not_monotonic", name)
        if metric[kind].get("aggregationTemporality") not in (1, 2):
            self.wrong("temporality", name)
        for point in metric[kind]["dataPoints"]:
            self.counts["points"] += 1
            found = self.values(point.get("attributes"), f"metric {name}")
            self.errors["metric"] |= {found["error.type"]} if "error.type" in found and not name.startswith(("mcp.", "gen_ai.invoke")) else set()
            if found.get("otel.metric.overflow"):
                continue
            for wanted in model.get("required", []):
                if wanted not in found:
                    self.wrong("required_attribute_not_present", f"metric {name}: {wanted}")
            known = {attribute for level in ("required", "conditional", "recommended", "opt_in") for attribute in model.get(level, [])}
            for other in found.keys() - known:
                self.wrong("attribute_of_no_such_metric", f"metric {name}: {other}")
            if int(point.get("startTimeUnixNano", 0)) >= int(point["timeUnixNano"]):
                self.wrong("point_without_length", f"metric {name}: {point.get('startTimeUnixNano')} to {point['timeUnixNano']}")
            if kind == "histogram":
                if model.get("buckets") and point.get("explicitBounds") != model["buckets"]:
                    self.wrong("buckets", f"metric {name}: {point.get('explicitBounds')}")
                if sum(map(int, point["bucketCounts"])) != int(point["count"]):
                    self.wrong("histogram_count", name)

    def file(self, path):
        for line in pathlib.Path(path).read_text().splitlines():
            request = json.loads(line)
            for signal, scopes, items, check in (("resourceSpans", "scopeSpans", "spans", self.span), ("resourceLogs", "scopeLogs", "logRecords", self.record),
                                                 ("resourceMetrics", "scopeMetrics", "metrics", self.metric)):
                for resource in request.get(signal, []):
                    found = self.values(resource.get("resource", {}).get("attributes"), "resource")
                    if "service.name" not in found:
                        self.wrong("service_name_missing", "resource")
                    for scope in resource.get(scopes, []):
                        for item in scope.get(items, []):
                            check(item, resource, scope)

    def report(self):
        if self.errors["metric"] and (more := self.errors["metric"] - self.errors["span"]) and self.counts["spans"]:
            self.wrong("error_type_differs", f"on metrics and on no span: {sorted(more)}")
        print(", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        for what in ("spans", "events", "metrics"):
            print(f"{what}: {', '.join(sorted(map(str, self.seen[what])))}")
        for title, found in (("could not be otherwise", self.excused), ("VIOLATIONS", self.violations)):
            for kind, examples in sorted(found.items()):
                print(f"{title}: {kind}: {len(examples)}")
                for example, count in collections.Counter(examples).most_common(8):
                    print(f"    {count} × {example}")
        print(f"profile {self.profile}: {sum(map(len, self.violations.values()))} violations")
        return bool(self.violations)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("2026-08", "next"), default="2026-08")
    parser.add_argument("--no-schemas", action="store_true")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    checker = Checker(options.profile, not options.no_schemas)
    for path in options.files:
        checker.file(path)
    sys.exit(checker.report())
