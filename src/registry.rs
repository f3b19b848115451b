//! The one explicit list of the components of this binary.

use pipeline::Registry;

/// Every receiver, processor and exporter.
pub fn registry() -> Registry {
    Registry {
        receivers: receiver::factories(),
        processors: processors::factories(),
        exporters: exporters::factories(),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::config::{Config, Sources};

    use super::registry;

    /// The processors of each pipeline, by its id.
    fn processors(service: &str) -> Vec<(String, Vec<String>)> {
        let text = format!(
            "receivers: {{ebpf: {{}}}}\nexporters: {{stdout: {{}}}}\nprocessors: {{identity: {{}}, provider: {{}}}}\n{service}"
        );
        let mut sources = Sources::default();
        sources.add(&format!("yaml:{text}"), &|_| None).unwrap();
        let config = Config::check(&sources.load(&|_| None).unwrap(), &registry()).unwrap();
        let names = |ids: &[pipeline::ComponentId]| ids.iter().map(ToString::to_string).collect();
        config.pipelines.iter().map(|pipeline| (pipeline.id.clone(), names(&pipeline.processors))).collect()
    }

    #[test]
    fn what_a_pipeline_cannot_do_without_is_added() {
        let lists = "pipelines: {traces: {receivers: [ebpf], processors: [identity, provider], exporters: [stdout]}, metrics: {receivers: [ebpf], processors: [identity], exporters: [stdout]}}";
        let of = |extra: &str| processors(&format!("service: {{{extra}{lists}}}"));
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            of(""),
            [
                ("traces".to_owned(), names(&["identity", "provider", "redaction"])),
                ("metrics".to_owned(), names(&["identity", "redaction", "metrics"])),
            ]
        );
        assert_eq!(of("redact: false, ")[0].1, names(&["identity", "provider"]));
    }
}
