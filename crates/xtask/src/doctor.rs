//! `cargo xtask doctor`: what this machine has, what it lacks, and the command that mends it.

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
};

use mmy_libtorch::{DEFAULT_DIR, Source};

use crate::{
    checkout::Checkout,
    setup::{self, Pip},
};

/// One thing looked at.
#[derive(Debug)]
struct Finding {
    state: State,
    /// What it is about, such as `C++ compiler`.
    about: &'static str,
    /// What was found.
    found: String,
    /// The command, or failing that the words, that mend it.
    mend: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Works, with a drawback.
    Poor,
    /// Nothing works until it is mended.
    Missing,
}

fn good(about: &'static str, found: impl Into<String>) -> Finding {
    Finding { state: State::Good, about, found: found.into(), mend: None }
}

fn bad(state: State, about: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { state, about, found: found.into(), mend: Some(mend.into()) }
}

/// Looks at everything and prints it.
pub fn run(checkout: &Checkout) -> ExitCode {
    let libtorch = libtorch(checkout);
    let to_fetch = libtorch.state == State::Missing && !setup::named_by_user(&checkout.root);
    let mut findings = vec![rust(), compiler(), libtorch];
    findings.extend([system_libtorch(), Some(pip(to_fetch))].into_iter().flatten());
    findings.push(disk(checkout, to_fetch));
    findings.push(memory());
    findings.push(cpu());
    print!("{}", render(&findings));
    let missing = findings.iter().any(|it| it.state == State::Missing);
    ExitCode::from(u8::from(missing))
}

fn render(findings: &[Finding]) -> String {
    let mut out = String::new();
    for it in findings {
        let mark = match it.state {
            State::Good => "ok  ",
            State::Poor => "warn",
            State::Missing => "BAD ",
        };
        out += &format!("{mark}  {:<12}  {}\n", it.about, it.found);
        if let Some(mend) = &it.mend {
            out += &format!("      {:<12}  mend: {mend}\n", "");
        }
    }
    let count = |state| findings.iter().filter(|it| it.state == state).count();
    match (count(State::Missing), count(State::Poor)) {
        (0, 0) => out += "\neverything is there\n",
        (0, poor) => out += &format!("\neverything needed is there; {poor} to know about\n"),
        (missing, _) => out += &format!("\n{missing} to mend\n"),
    }
    out
}

/// First line of what a program says.
fn says(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// `1.88` and `1.95.0` as numbers.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn rust() -> Finding {
    const NEEDED: &str = env!("CARGO_PKG_RUST_VERSION");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    match says(&rustc, &["--version"]) {
        None => bad(State::Missing, "Rust", "there is no rustc", "install Rust from https://rustup.rs"),
        Some(text) => {
            let old = release(text.split(' ').nth(1).unwrap_or_default()) < release(NEEDED);
            if old {
                let found = format!("{text}, and {NEEDED} is needed");
                bad(State::Missing, "Rust", found, "rustup update stable")
            } else {
                good("Rust", format!("{text} ({NEEDED} or newer is needed)"))
            }
        }
    }
}

/// The compiler is tried, since a C++ compiler without its headers is a common half of one.
fn compiler() -> Finding {
    const PROGRAM: &str = "#include <optional>\nint main() { return std::optional<int>(0).value(); }\n";
    let about = "C++ compiler";
    let cxx = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut words = cxx.split_whitespace();
    let program = words.next().unwrap_or("c++");
    let child = Command::new(program)
        .args(words)
        .args(["-std=c++17", "-fsyntax-only", "-x", "c++", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        let mend = if env::var_os("CXX").is_some() {
            "set CXX to a C++ compiler, or unset it".to_owned()
        } else {
            install_compiler().to_owned()
        };
        return bad(State::Missing, about, format!("`{cxx}` does not run"), mend);
    };
    if let Some(mut input) = child.stdin.take() {
        // A compiler that stops early closes its input; its status says so below.
        let _ = input.write_all(PROGRAM.as_bytes());
    }
    if !child.wait().is_ok_and(|it| it.success()) {
        let found = format!("`{cxx}` cannot compile C++17");
        return bad(State::Missing, about, found, install_compiler());
    }
    good(about, says(program, &["--version"]).unwrap_or(cxx))
}

fn install_compiler() -> &'static str {
    let has = |program: &str| says(program, &["--version"]).is_some();
    if has("apt-get") {
        "sudo apt-get install -y g++"
    } else if has("dnf") {
        "sudo dnf install -y gcc-c++"
    } else if has("pacman") {
        "sudo pacman -S --noconfirm gcc"
    } else if cfg!(target_os = "macos") {
        "xcode-select --install"
    } else {
        "install g++ or clang++ with its C++ library"
    }
}

fn libtorch(checkout: &Checkout) -> Finding {
    let ours = checkout.root.join(DEFAULT_DIR);
    let found = if setup::named_by_user(&checkout.root) {
        mmy_libtorch::find(|name| env::var_os(name))
    } else {
        mmy_libtorch::find_in(&ours)
    };
    match found {
        Ok(it) => {
            let by = match it.source {
                Source::Pytorch => "named by LIBTORCH_USE_PYTORCH",
                Source::System => "the system's",
                Source::Environment if it.lib.starts_with(&ours) => "this checkout's",
                Source::Environment => "named by LIBTORCH",
            };
            let cuda = if it.has_cuda() { ", with CUDA" } else { "" };
            good("libtorch", format!("{} in {}, {by}{cuda}", it.version, it.lib.display()))
        }
        Err(e) => bad(State::Missing, "libtorch", e.found(), e.mend()),
    }
}

/// A system's libtorch of another release is worth a word, since one might expect it to be used.
fn system_libtorch() -> Option<Finding> {
    mmy_libtorch::system_root()?;
    let error = mmy_libtorch::find(|_| None).err()?;
    Some(good("system", format!("{}; it is left alone", error.found())))
}

fn pip(needed: bool) -> Finding {
    match Pip::find() {
        Ok(pip) => {
            let (major, minor) = pip.version;
            good("pip", format!("{major}.{minor}, called as `{pip}`"))
        }
        Err(_) if !needed => good("pip", "none; not needed, since libtorch is there"),
        Err(e) => bad(State::Missing, "pip", e.found, e.mend),
    }
}

fn disk(checkout: &Checkout, to_fetch: bool) -> Finding {
    /// What the build of every test and tool comes to.
    const BUILD: u64 = 4_000_000_000;
    let Some(free) = setup::free_bytes(&checkout.root) else {
        let mend = "see to it that 6 GB are free";
        return bad(State::Poor, "disk", "its free space is unknown", mend);
    };
    let has = format!("{:.1} GB free at {}", free as f64 / 1e9, checkout.root.display());
    if to_fetch && free < setup::BYTES_TO_FETCH {
        let found = format!("{has}, and fetching libtorch needs 1.1 GB for a while");
        return bad(State::Missing, "disk", found, "free some, or move the checkout to a larger disk");
    }
    if free < BUILD {
        let found = format!("{has}; a whole build with its tests takes about {:.0} GB", BUILD as f64 / 1e9);
        return bad(State::Poor, "disk", found, "free some, or set CARGO_TARGET_DIR to a larger disk");
    }
    good("disk", has)
}

fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match kilobytes(&text, "MemTotal:") {
        Some(kb) if kb < 3_500_000 => bad(
            State::Poor,
            "memory",
            format!("{:.1} GB", kb as f64 / 1e6),
            "compiling libtorch's C++ binding takes about 3 GB: add swap, or set CARGO_BUILD_JOBS=1",
        ),
        Some(kb) => good("memory", format!("{:.1} GB", kb as f64 / 1e6)),
        None => good("memory", "unknown on this system"),
    }
}

fn kilobytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|it| it.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu() -> Finding {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    good("CPU", format!("{threads} threads; {}", fast_types(&text)))
}

/// Whether training in bfloat16 pays, read from `/proc/cpuinfo`.
fn fast_types(cpuinfo: &str) -> &'static str {
    let flags = cpuinfo.lines().find(|it| it.starts_with("flags") || it.starts_with("Features"));
    let has = |flag: &str| flags.is_some_and(|it| it.split_whitespace().any(|word| word == flag));
    if has("amx_bf16") {
        "bfloat16 in hardware (AMX)"
    } else if has("avx512_bf16") {
        "bfloat16 in hardware (AVX-512)"
    } else if has("bf16") {
        "bfloat16 in hardware"
    } else if flags.is_none() {
        "unknown to this system's /proc"
    } else {
        "no bfloat16 in hardware, so training runs in float32"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_as_numbers() {
        assert!(release("1.100.0") > release("1.88"));
        assert!(release("1.87.0-nightly") < release("1.88"));
        assert_eq!(release("nonsense"), None);
    }

    #[test]
    fn the_mark_and_the_mending_command_stand_in_the_report() {
        let report = render(&[good("Rust", "1.95"), bad(State::Missing, "pip", "there is no pip", "apt install it")]);
        assert_eq!(
            report,
            "ok    Rust          1.95\n\
             BAD   pip           there is no pip\n\
             \x20                   mend: apt install it\n\
             \n1 to mend\n"
        );
    }

    #[test]
    fn bfloat16_is_read_from_the_flags() {
        for (flags, expect) in [
            ("flags\t\t: fpu avx512_bf16 amx_bf16 amx_tile", "AMX"),
            ("flags\t\t: fpu avx512_bf16", "AVX-512"),
            ("Features\t: fp asimd bf16", "bfloat16 in hardware"),
            ("flags\t\t: fpu avx2", "float32"),
            ("", "unknown"),
        ] {
            assert!(fast_types(flags).contains(expect), "{flags}");
        }
    }

    #[test]
    fn memory_is_read_in_kilobytes() {
        let text = "MemTotal:       24654780 kB\nMemFree:  1 kB\n";
        assert_eq!(kilobytes(text, "MemTotal:"), Some(24_654_780));
    }
}
