//! Paths on which the security of the host or of an account rests.

use std::sync::LazyLock;

use memchr::memmem;

use crate::targets::rules::matches_glob;

/// What is remarkable about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remarkable {
    /// Reading and changing it.
    Both,
    /// Changing it: programs read it all the time.
    Change,
    /// Reading it: it is not there to be changed.
    Read,
}

use Remarkable::{Both, Change, Read};

/// Category, what is remarkable, and a glob (`*` fits `/`, too).
const KNOWN: &[(&str, Remarkable, &str)] = &[
    // Who may log in, and as whom.
    ("accounts", Both, "/etc/shadow*"),
    ("accounts", Both, "/etc/gshadow*"),
    ("accounts", Change, "/etc/passwd*"),
    ("accounts", Change, "/etc/group*"),
    ("accounts", Change, "/etc/subuid"),
    ("accounts", Change, "/etc/subgid"),
    ("accounts", Change, "/etc/pam.d/*"),
    ("accounts", Change, "/etc/security/*"),
    ("accounts", Change, "/etc/nsswitch.conf"),
    ("sudo", Both, "/etc/sudoers*"),
    ("sudo", Change, "/etc/doas.conf"),
    ("sudo", Change, "/etc/polkit-1/*"),
    ("ssh", Both, "*/.ssh/*"),
    ("ssh", Both, "/etc/ssh/ssh_host_*_key"),
    ("ssh", Change, "/etc/ssh/*"),
    // What runs by itself.
    ("cron", Change, "/etc/cron*"),
    ("cron", Change, "/var/spool/cron/*"),
    ("cron", Change, "/etc/at.allow"),
    ("systemd", Change, "/etc/systemd/*"),
    ("systemd", Change, "/usr/lib/systemd/*"),
    ("systemd", Change, "/lib/systemd/*"),
    ("systemd", Change, "/run/systemd/system/*"),
    ("systemd", Change, "*/.config/systemd/*"),
    ("startup", Change, "/etc/init.d/*"),
    ("startup", Change, "/etc/rc.local"),
    ("startup", Change, "/etc/udev/rules.d/*"),
    ("startup", Change, "*/.config/autostart/*"),
    ("startup", Change, "/etc/xdg/autostart/*"),
    ("shell", Change, "/etc/profile*"),
    ("shell", Change, "/etc/bash.bashrc"),
    ("shell", Change, "/etc/bashrc"),
    ("shell", Change, "/etc/environment"),
    ("shell", Change, "/etc/zsh*"),
    ("shell", Change, "*/.bashrc"),
    ("shell", Change, "*/.bash_profile"),
    ("shell", Change, "*/.bash_login"),
    ("shell", Change, "*/.bash_logout"),
    ("shell", Change, "*/.bash_aliases"),
    ("shell", Change, "*/.profile"),
    ("shell", Change, "*/.zshrc"),
    ("shell", Change, "*/.zshenv"),
    ("shell", Change, "*/.zprofile"),
    ("shell", Change, "*/.zlogin"),
    ("shell", Change, "*/.config/fish/*"),
    ("shell", Read, "*/.bash_history"),
    ("shell", Read, "*/.zsh_history"),
    ("loader", Change, "/etc/ld.so.preload"),
    ("loader", Change, "/etc/ld.so.conf*"),
    ("git", Change, "*/.gitconfig"),
    ("git", Change, "*/.git/hooks/*"),
    // The kernel and the host.
    ("kernel", Change, "/etc/modules*"),
    ("kernel", Change, "/etc/modprobe.d/*"),
    ("kernel", Change, "/etc/sysctl*"),
    ("kernel", Change, "/proc/sys/*"),
    ("kernel", Change, "/proc/sysrq-trigger"),
    ("kernel", Change, "/sys/kernel/*"),
    ("kernel", Change, "/boot/*"),
    ("kernel", Both, "/dev/mem"),
    ("kernel", Both, "/dev/kmem"),
    ("kernel", Both, "/proc/kcore"),
    ("disk", Both, "/dev/sd*"),
    ("disk", Both, "/dev/vd*"),
    ("disk", Both, "/dev/xvd*"),
    ("disk", Both, "/dev/nvme*"),
    ("disk", Both, "/dev/dm-*"),
    ("network", Change, "/etc/hosts"),
    ("network", Change, "/etc/resolv.conf"),
    ("certificates", Change, "/etc/ssl/certs/*"),
    ("certificates", Change, "/usr/local/share/ca-certificates/*"),
    ("certificates", Both, "/etc/ssl/private/*"),
    ("packages", Change, "/etc/apt/*"),
    // Secrets of accounts.
    ("secrets", Both, "*/.aws/credentials"),
    ("secrets", Both, "*/.aws/sso/*"),
    ("secrets", Both, "*/.config/gcloud/*"),
    ("secrets", Both, "*/.azure/*"),
    ("secrets", Both, "*/.kube/config"),
    ("secrets", Both, "*/.docker/config.json"),
    ("secrets", Both, "*/.netrc"),
    ("secrets", Both, "*/.git-credentials"),
    ("secrets", Both, "*/.config/gh/hosts.yml"),
    ("secrets", Both, "*/.npmrc"),
    ("secrets", Both, "*/.pypirc"),
    ("secrets", Both, "*/.pgpass"),
    ("secrets", Both, "*/.my.cnf"),
    ("secrets", Both, "*/.vault-token"),
    ("secrets", Both, "*/.gnupg/*"),
    ("secrets", Both, "*/.password-store/*"),
    ("secrets", Both, "*/.local/share/keyrings/*"),
    ("secrets", Both, "*/.mozilla/firefox/*/logins.json"),
    ("secrets", Both, "*/.mozilla/firefox/*/key4.db"),
    ("secrets", Both, "*/.config/google-chrome/*/Login Data"),
    ("secrets", Both, "*/id_rsa"),
    ("secrets", Both, "*/id_ed25519"),
    ("secrets", Both, "*/id_ecdsa"),
    ("secrets", Both, "*.pem"),
    ("secrets", Both, "*.p12"),
    ("secrets", Both, "*.pfx"),
    ("secrets", Both, "*/.env"),
    ("secrets", Both, "*/.env.local"),
    ("secrets", Both, "*/.env.production"),
    ("secrets", Both, "/var/run/secrets/*"),
    ("secrets", Both, "/run/secrets/*"),
    ("process", Read, "/proc/*/environ"),
    ("process", Both, "/proc/*/mem"),
];

/// Looks like it, and is nothing.
const EXAMPLES: &[&str] = &[".sample", ".example"];

/// What everybody reads: certificates that the packages of a host and of languages bring, and what is named as one.
const HARMLESS: &[&str] = &[
    "/etc/ssl/certs/*",
    "/usr/*.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/*",
    "*/ca.pem",
    "*/ca-*.pem",
    "*/authority.pem",
    "*cert.pem",
    "*certs.pem",
    "*chain.pem",
    "*bundle.pem",
];

/// A glob in its cheapest form: every file that a process opens is held against all of them.
#[derive(Debug)]
enum Pattern {
    Exact(String),
    Begin(String),
    End(String),
    Within(Box<memmem::Finder<'static>>),
    Glob(String),
}

impl Pattern {
    fn new(glob: &str) -> Self {
        let stars = glob.matches('*').count();
        if glob.contains('?') {
            return Pattern::Glob(glob.to_owned());
        }
        match (stars, glob.strip_prefix('*'), glob.strip_suffix('*')) {
            (0, ..) => Pattern::Exact(glob.to_owned()),
            (1, Some(end), _) => Pattern::End(end.to_owned()),
            (1, _, Some(begin)) => Pattern::Begin(begin.to_owned()),
            (2, Some(_), Some(_)) => {
                Pattern::Within(Box::new(memmem::Finder::new(glob.trim_matches('*')).into_owned()))
            }
            _ => Pattern::Glob(glob.to_owned()),
        }
    }

    fn fits(&self, path: &str) -> bool {
        match self {
            Pattern::Exact(text) => path == text,
            Pattern::Begin(text) => path.starts_with(text.as_str()),
            Pattern::End(text) => path.ends_with(text.as_str()),
            Pattern::Within(text) => text.find(path.as_bytes()).is_some(),
            Pattern::Glob(glob) => matches_glob(glob, path),
        }
    }
}

/// [`KNOWN`] and [`HARMLESS`], ready for use.
static PATTERNS: LazyLock<Vec<(&'static str, Remarkable, Pattern)>> =
    LazyLock::new(|| KNOWN.iter().map(|(category, kind, glob)| (*category, *kind, Pattern::new(glob))).collect());
static EXCEPTIONS: LazyLock<Vec<Pattern>> = LazyLock::new(|| HARMLESS.iter().map(|glob| Pattern::new(glob)).collect());

/// The operator's list and the known ones.
#[derive(Debug)]
pub struct Sensitive {
    more: Vec<Pattern>,
    less: Vec<Pattern>,
}

impl Sensitive {
    /// With globs beside the known ones; those with a `!` in front say what is not sensitive.
    pub fn new(globs: &[String]) -> Self {
        let less = globs.iter().filter_map(|glob| glob.strip_prefix('!')).map(Pattern::new).collect();
        let more = globs.iter().filter(|glob| !glob.starts_with('!')).map(|glob| Pattern::new(glob)).collect();
        Self { more, less }
    }

    /// Which kind of sensitive file a path is, if reading it (or changing it) is remarkable.
    pub fn category(&self, path: &str, read: bool) -> Option<String> {
        if self.less.iter().any(|glob| glob.fits(path)) {
            return None;
        }
        if self.more.iter().any(|glob| glob.fits(path)) {
            return Some("custom".to_owned());
        }
        if EXAMPLES.iter().any(|end| path.ends_with(end)) {
            return None;
        }
        if read && EXCEPTIONS.iter().any(|glob| glob.fits(path)) {
            return None;
        }
        let remarkable = |kind: Remarkable| kind == Both || (kind == Read) == read;
        let known = PATTERNS.iter().find(|(_, kind, glob)| remarkable(*kind) && glob.fits(path));
        known.map(|(category, ..)| (*category).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_category() {
        let sensitive = Sensitive::new(&["/srv/crown/*".into(), "!*/fixtures/*".into()]);
        for (path, read, category) in [
            ("/etc/shadow", true, Some("accounts")),
            ("/etc/passwd", true, None),
            ("/etc/passwd", false, Some("accounts")),
            ("/home/ada/.ssh/authorized_keys", false, Some("ssh")),
            ("/home/ada/.ssh/id_ed25519", true, Some("ssh")),
            ("/home/ada/.bashrc", true, None),
            ("/home/grace/.bashrc", false, Some("shell")),
            ("/home/grace/.bash_history", true, Some("shell")),
            ("/home/grace/.bash_history", false, None),
            ("/etc/cron.d/x", false, Some("cron")),
            ("/etc/ld.so.preload", false, Some("loader")),
            ("/etc/ld.so.preload", true, None),
            ("/etc/ssl/certs/a.pem", true, None),
            ("/etc/ssl/certs/a.pem", false, Some("certificates")),
            ("/srv/app/tls.pem", true, Some("secrets")),
            ("/srv/venv/certifi/cacert.pem", true, None),
            ("/srv/tls/privkey.pem", true, Some("secrets")),
            ("/srv/app/.git/hooks/pre-commit", false, Some("git")),
            ("/srv/app/.git/hooks/pre-commit.sample", false, None),
            ("/proc/12/environ", true, Some("process")),
            ("/srv/crown/jewel", true, Some("custom")),
            ("/srv/app/fixtures/.env", true, None),
            ("/srv/app/app.rs", false, None),
        ] {
            assert_eq!(sensitive.category(path, read).as_deref(), category, "{path} {read}");
        }
    }
}
