use super::*;

#[test]
#[ignore = "needs real programs: ONLOOKER_GO_BINARIES=path:path…"]
#[allow(clippy::print_stdout, reason = "its output is what it is for")]
fn real_programs() {
    for path in std::env::var("ONLOOKER_GO_BINARIES").unwrap().split(':') {
        let start = std::time::Instant::now();
        let image = Image::read(&std::fs::File::open(path).unwrap()).unwrap();
        let read = start.elapsed();
        let found = find(&image);
        println!("{path}\n  read {read:?}, searched {:?}", start.elapsed() - read);
        for site in found.plans.iter().flat_map(|plan| &plan.sites) {
            let returns: Vec<String> = site.returns.iter().map(|offset| format!("{offset:x}")).collect();
            println!("  {} {:#x} {}", site.name, site.entry, returns.join(" "));
        }
        println!("  {:?}", found.doubts);
    }
}
