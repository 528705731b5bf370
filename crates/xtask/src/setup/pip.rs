//! The user's own pip, with the user's own index, mirror and proxy settings.

use std::{
    fmt, io,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Platform, cannot};

/// A pip that answers.
#[derive(Debug, Clone)]
pub struct Pip {
    program: &'static str,
    args: &'static [&'static str],
    /// Such as 23.2.
    pub version: (u32, u32),
}

/// There is no pip of use.
#[derive(Debug)]
pub struct NoPip {
    /// What was found.
    pub found: String,
    /// The command that mends it.
    pub mend: String,
}

impl fmt::Display for NoPip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: run `{}`", self.found, self.mend)
    }
}

impl std::error::Error for NoPip {}

/// Ways to call pip. `python3 -m pip` comes first: it is the pip of the Python that the user sees.
const CANDIDATES: [(&str, &[&str]); 4] =
    [("python3", &["-m", "pip"]), ("python", &["-m", "pip"]), ("pip3", &[]), ("pip", &[])];

/// The first that takes `--platform` more than once.
const OLDEST: (u32, u32) = (20, 3);

impl fmt::Display for Pip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", [&[self.program], self.args].concat().join(" "))
    }
}

impl Pip {
    /// The first that answers and is new enough.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self, NoPip> {
        let mut old = None;
        for (program, args) in CANDIDATES {
            let Some(version) = ask(program, args) else { continue };
            let pip = Pip { program, args, version };
            if version >= OLDEST {
                return Ok(pip);
            }
            old.get_or_insert(pip);
        }
        Err(match old {
            Some(pip) => {
                let ((major, minor), (oldest, least)) = (pip.version, OLDEST);
                let found = format!("`{pip}` is release {major}.{minor}, and {oldest}.{least} is needed");
                NoPip { found, mend: format!("{pip} install --upgrade pip") }
            }
            None => NoPip { found: "there is no pip, which fetches libtorch".to_owned(), mend: how_to_install() },
        })
    }

    /// Downloads a wheel for `platform` into `into`, whatever Python the user has. Speaks on the standard error, as pip
    /// does on its standard output, since the output may be `mmy`'s.
    pub fn download(&self, platform: &Platform, wheel: &str, into: &Path, temporary: &Path) -> Result<()> {
        eprintln!("fetching {wheel} with `{self} download`");
        let mut command = Command::new(self.program);
        command
            .args(self.args)
            .args(["download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
            .args(["--python-version", "3.12"]);
        for tag in platform.tags {
            command.args(["--platform", tag]);
        }
        let status = command
            .arg("--dest")
            .arg(into)
            .arg(wheel)
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status()
            .with_context(|| cannot("run", Path::new(self.program)))?;
        if !status.success() {
            bail!(
                "`{self} download {wheel}` failed; pip's own words are above. Run the command again when the cause is \
                 mended, or set LIBTORCH to a libtorch 2.13.0 that you have"
            );
        }
        Ok(())
    }
}

/// pip's release, if this way to call it works.
fn ask(program: &str, args: &[&str]) -> Option<(u32, u32)> {
    let output = Command::new(program).args(args).arg("--version").output().ok()?;
    output.status.success().then(|| version(&String::from_utf8_lossy(&output.stdout)))?
}

/// Reads `pip 23.2.1 from …`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("pip ")?.split_whitespace().next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next().and_then(|it| it.parse().ok()).unwrap_or(0)))
}

/// The command that installs pip on this machine.
fn how_to_install() -> String {
    const MANAGERS: [(&str, &str); 6] = [
        ("apt-get", "sudo apt-get install -y python3-pip"),
        ("dnf", "sudo dnf install -y python3-pip"),
        ("pacman", "sudo pacman -S --noconfirm python-pip"),
        ("zypper", "sudo zypper install -y python3-pip"),
        ("apk", "sudo apk add py3-pip"),
        ("brew", "brew install python"),
    ];
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let known = MANAGERS.iter().find(|(program, _)| runs(program));
    // Python itself carries a pip that it can unpack.
    known.map_or("python3 -m ensurepip --user", |(_, command)| command).to_owned()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_release_is_read_from_what_pip_says() {
        for (text, expect) in [
            ("pip 23.2.1 from /x/pip (python 3.11)\n", Some((23, 2))),
            ("pip 9.0 from /x", Some((9, 0))),
            ("pip 26 from /x", Some((26, 0))),
            ("No module named pip", None),
            ("", None),
        ] {
            assert_eq!(version(text), expect, "{text}");
        }
    }
}
